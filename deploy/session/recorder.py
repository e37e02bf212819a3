"""A session's recorder: what the engine hands over, and the thread that writes it."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import cv2
import msgspec

from stream.errors import AffectstreamError
from stream.prediction import Prediction
from stream.recording.entries import Arrived, Entry
from stream.recording.messages import Batch, MessageMaker
from stream.recording.schemas import (
    CLOCKS,
    DOOR,
    MEDIA,
    PICTURE,
    PREDICTIONS,
    RECONNECTED,
    ClockObservation,
    MediaPacket,
    Reconnected,
    RecordingEnd,
)
from stream.timeline.packets import AudioChunk, Faces, FrameImage, Item, VideoFrame
from stream.timeline.time import NS_PER_MS

PICTURE_EVERY_NS: Final = 500 * NS_PER_MS
"""Of session time between two pictures: enough to see who is there; a picture costs a millisecond."""
PICTURE_WIDTH: Final = 320
PICTURE_QUALITY: Final = 70
WAITING_BYTES: Final = 32 << 20
"""What may wait for the writer: seconds of a disk that hangs; beyond it a file's session waits, a live one counts the loss."""
_SMALL: Final = 200
"""Bytes of a packet without arrays, roughly."""


class SessionRecorder(Protocol):
    """What the engine tells a recorder. Each method may be called by another thread than the others."""

    def entry(self, entry: Entry, arrival_ns: int) -> None:
        """What passes the aligner's door, in order, before the aligner sees it; also drops, sheds and the closing."""
        ...

    def read(self, items: Sequence[Item]) -> None:
        """What a source gave, before any operator sees it."""
        ...

    def clocks(self, observations: Sequence[ClockObservation]) -> None:
        """What was observed of the clocks of live devices."""
        ...


class RecordingSink(Protocol):
    """Where batches of messages go: a file, or a ring that keeps the newest. May raise `OSError`."""

    def write(self, batch: Batch) -> None:
        """Takes messages that belong together."""
        ...

    def finish(self, end: RecordingEnd) -> None:
        """Nothing more follows."""
        ...

    def close(self) -> None:
        """Lets go of what is held; may be called twice."""
        ...


class ThreadedRecorder:
    """Records one session into a sink, in a thread of its own.

    `waits`: where the writer can't keep up, the session waits for it (a file's), or what does not fit is left out and
    counted in `lost`, by topic (a live one's). When the sink fails, `failure` says so in a line, the recording is over and
    the session goes on. `busy_ns` adds up the CPU time of the thread; `notices` say what is left out from the start.
    """

    def __init__(self, sink: RecordingSink, *, origin_ns: int = 0, waits: bool = True, notices: tuple[str, ...] = ()) -> None:
        self.notices = notices
        self._failure: str | None = None
        self.lost: Counter[str] = Counter()
        self.busy_ns = 0
        self._sink = sink
        self._maker = MessageMaker(origin_ns)
        self._waits = waits
        self._changed = threading.Condition()
        self._waiting: deque[tuple[int, Callable[[], Sequence[Batch]]]] = deque()
        self._bytes = 0
        self._closed = False
        self._next_picture_ns: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> str | None:
        """One line where the recording has ended before the session, or lacks what could not be kept up with."""
        if self._failure is None and self.lost:
            lost = ", ".join(f"{count} of {topic}" for topic, count in self.lost.items())
            return f"the recording lacks what could not be written in time: {lost}"
        return self._failure

    def entry(self, entry: Entry, arrival_ns: int) -> None:
        """What passes the aligner's door, in order."""
        arrived = Arrived(arrival_ns, entry)
        self._put(DOOR, _size(entry), lambda: self._maker.entry(arrived))

    def read(self, items: Sequence[Item]) -> None:
        """Frames, of which one in a while becomes a picture."""
        for item in items:
            if isinstance(item, VideoFrame) and item.start_ns >= self._next_picture_ns.get(item.stream, 0):
                self._next_picture_ns[item.stream] = item.start_ns + PICTURE_EVERY_NS
                self._picture(item.stream, item.start_ns, item.image)

    def clocks(self, observations: Sequence[ClockObservation]) -> None:
        """Stamps of live devices and their arrivals, as they came."""
        self._put(CLOCKS, _SMALL * len(observations), lambda: self._maker.clocks(observations))

    def media(self, packet: MediaPacket, at_ns: int) -> None:
        """A compressed packet, as it was read at `at_ns` of session time."""
        self._put(MEDIA, _SMALL + len(packet.data or b""), lambda: self._maker.media(packet, at_ns))

    def reconnected(self, reconnected: Reconnected) -> None:
        """A live source was connected anew; media that follow are of this part."""
        size = _SMALL + len(reconnected.head.parameters)
        self._put(RECONNECTED, size, lambda: self._maker.reconnected(reconnected))

    def prediction(self, prediction: Prediction) -> None:
        """A prediction, as it is given out."""
        self._put(PREDICTIONS, _SMALL * 10, lambda: [self._maker.prediction(prediction)])

    def finish(self, end: RecordingEnd) -> None:
        """Writes what is left and the end; waits for it."""
        self._put(DOOR, 0, self._maker.rest, always=True)
        lost = dict(self.lost)
        self._put(DOOR, 0, lambda: self._finish(msgspec.structs.replace(end, lost=lost)), always=True)
        self.close()

    def close(self) -> None:
        """Ends the thread after what waits, and closes the sink: without `finish` the recording is cut. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self._sink.close()

    def _picture(self, stream: str, at_ns: int, image: FrameImage) -> None:
        width = min(PICTURE_WIDTH, image.width)
        height = max(1, round(image.height * width / image.width))
        size = image.width * image.height * 3 // 2

        def encode() -> Sequence[Batch]:
            bgr = cv2.cvtColor(image.rgb(width, height), cv2.COLOR_RGB2BGR)
            done, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, PICTURE_QUALITY])
            return [self._maker.picture(stream, at_ns, jpeg.tobytes())] if done else []

        self._put(PICTURE, size, encode)

    def _put(self, topic: str, size: int, work: Callable[[], Sequence[Batch]], *, always: bool = False) -> None:
        with self._changed:
            if self._waits and not always:
                self._changed.wait_for(lambda: self._closed or self._fits(size))
            if self._closed or self._failure is not None:
                return
            if not (always or self._fits(size)):
                self.lost[topic] += 1
                return
            if not self._waiting:
                self._changed.notify_all()
            self._waiting.append((size, work))
            self._bytes += size

    def _fits(self, size: int) -> bool:
        return not self._waiting or self._bytes + size <= WAITING_BYTES

    def _finish(self, end: RecordingEnd) -> Sequence[Batch]:
        self._sink.finish(end)
        return ()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or bool(self._waiting))
                if not self._waiting:
                    return
                # All at once: to be woken for every packet costs more than to write it.
                waiting, self._waiting, self._bytes = self._waiting, deque(), 0
                self._changed.notify_all()
            before_ns = time.thread_time_ns()
            while waiting and self._failure is None:
                self._do(waiting.popleft()[1])
            self.busy_ns += time.thread_time_ns() - before_ns

    def _do(self, work: Callable[[], Sequence[Batch]]) -> None:
        try:
            for batch in work():
                self._sink.write(batch)
        except OSError as error:
            self._fail(error.strerror or str(error))
        except Exception as error:  # a fault of ours must not end the session that is recorded
            self._fail(f"{type(error).__name__}: {error}")

    def _fail(self, found: str) -> None:
        line = AffectstreamError("the recording", found=found, fix="it ends here, what was written before stays readable")
        with self._changed:
            self._failure = str(line)
            self._changed.notify_all()


def _size(entry: Entry) -> int:
    if isinstance(entry, AudioChunk):
        return _SMALL + int(entry.samples.nbytes)
    if isinstance(entry, Faces):
        faces = entry.faces
        return _SMALL + sum(
            2 * _SMALL + int(f.crop.nbytes) + (int(f.mouths.crops.nbytes) if f.mouths is not None else 0) for f in faces
        )
    return _SMALL
