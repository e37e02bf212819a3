from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from deploy.session.live_reading import LiveReading
from deploy.session.reading import Read
from deploy.settings import LiveReadingSettings
from stream.errors import SourceError
from stream.sources.live import Capture, Captured, Disconnected
from stream.timeline.live import LiveDoor, LiveStream
from stream.timeline.packets import AudioChunk, Bound, EpochStart, Modality, StreamEnd, VideoFrame, Word
from stream.timeline.time import NS_PER_MS, NS_PER_SECOND

VIDEO = LiveStream(name="video", modality=Modality.VIDEO, device="camera")
AUDIO = LiveStream(name="audio", modality=Modality.AUDIO, device="microphone")
WORDS = LiveStream(name="words", modality=Modality.TEXT)
ZERO_NS = 77 * NS_PER_SECOND


class Picture:
    width = height = 1

    def rgb(self, width: int, height: int) -> np.ndarray:
        return np.zeros((height, width, 3), np.uint8)

    def grey(self) -> np.ndarray:
        return np.zeros((1, 1), np.uint8)


class Clock:
    """Session time that goes only where it is set."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


class Scripted:
    """Gives captures at set times: each reading first sets the clock."""

    def __init__(self, streams: Sequence[LiveStream], clock: Clock, script: Sequence[tuple[int, Capture]]) -> None:
        self.live_streams = tuple(streams)
        self.closed = threading.Event()
        self._clock, self._script = clock, list(script)

    def read(self) -> list[Capture] | None:
        if not self._script:
            return None
        self._clock.ns, capture = self._script.pop(0)
        return [capture]

    def close(self) -> None:
        self.closed.set()


def frame(k: int) -> Captured:
    at_ns = ZERO_NS + k * 40 * NS_PER_MS
    return Captured(packet=VideoFrame(stream="video", sequence=k, start_ns=at_ns, end_ns=at_ns, image=Picture()), sequence=k)


def chunk(k: int) -> Captured:
    start_ns = k * 20 * NS_PER_MS
    samples = np.zeros(320, np.int16)
    packet = AudioChunk(
        stream="audio", sequence=k, start_ns=start_ns, end_ns=start_ns + 20 * NS_PER_MS, samples=samples, first_sample=320 * k
    )
    return Captured(packet=packet, sequence=k)


def reading(clock: Clock, *sources: Scripted, **settings: int) -> LiveReading:
    streams = [stream for source in sources for stream in source.live_streams]
    return LiveReading(sources, LiveDoor(streams), clock, LiveReadingSettings(**settings))


def all_reads(of: LiveReading) -> list[Read]:
    """Everything is listened to before anything is taken, as if we were behind, so that no thread's timing matters."""
    listened(of)
    return [read for group in of.reads() for read in group]


def listened(of: LiveReading) -> None:
    for source in of.sources:
        of._listen(source)
    of._reading = 0
    of.sources = ()


def steps(count: int, step_ms: int, make: Callable[[int], Captured], delay_ms: int = 5) -> list[tuple[int, Capture]]:
    return [((k * step_ms + delay_ms) * NS_PER_MS, make(k)) for k in range(count)]


def test_packets_come_in_session_time_with_growing_arrivals_and_an_end() -> None:
    clock = Clock()
    given = all_reads(reading(clock, Scripted([VIDEO], clock, steps(100, 40, frame)), most_pictures=100))
    arrivals = [read.arrival_ns for read in given]
    assert arrivals == sorted(arrivals)
    frames = [item for read in given for item in read.items if isinstance(item, VideoFrame)]
    assert [f.start_ns for f in frames] == [(k * 40 + 5) * NS_PER_MS for k in range(100)]
    assert isinstance(given[-1].items[-1], StreamEnd)
    assert all(read.uncertainty_ns % (NS_PER_MS // 10) == 0 for read in given)
    assert given[-1].uncertainty_ns > 0


def test_of_the_pictures_that_wait_the_newest_stay_and_the_others_are_counted() -> None:
    clock = Clock()
    given = all_reads(reading(clock, Scripted([VIDEO], clock, steps(100, 40, frame)), most_pictures=30))
    frames = [item.sequence for read in given for item in read.items if isinstance(item, VideoFrame)]
    assert frames == list(range(70, 100))
    assert sum(isinstance(item, Bound) for read in given for item in read.items) == 70
    assert [(d.stream, d.reason) for read in given for d in read.dropped] == [("video", "policy")] * 70


def test_what_waits_too_long_is_skipped_in_one_piece_and_a_new_epoch_begins() -> None:
    clock = Clock()
    script = steps(100, 20, chunk)
    words = [(NS_PER_SECOND, Captured(packet=Word(stream="words", sequence=0, start_ns=0, end_ns=1, text="hm"), sequence=0))]
    live = reading(clock, Scripted([AUDIO], clock, script), Scripted([WORDS], clock, words))
    listened(live)
    clock.ns = 40 * NS_PER_SECOND
    later = [(40 * NS_PER_SECOND + at_ns - 100 * 20 * NS_PER_MS, c) for at_ns, c in steps(200, 20, chunk)[100:]]
    live._reading = 1  # there is more to come
    skipping = live.reads()
    given = next(skipping)
    live._listen(Scripted([AUDIO], clock, later))
    given += [read for group in skipping for read in group]
    assert [(d.stream, d.reason, d.count) for read in given for d in read.dropped] == [("audio", "shed", 100)]
    items = [item for read in given for item in read.items]
    assert sum(isinstance(item, Word) for item in items) == 1
    (start,) = [item for item in items if isinstance(item, EpochStart)]
    chunks = [item for item in items if isinstance(item, AudioChunk)]
    assert len(chunks) == 100
    assert {c.epoch for c in chunks} == {start.epoch}
    assert start.at_ns > 39 * NS_PER_SECOND


def test_what_a_source_raises_comes_after_what_it_gave() -> None:
    clock = Clock()

    class Failing(Scripted):
        def read(self) -> list[Capture] | None:
            captures = super().read()
            if captures is None:
                raise SourceError("camera", found="unplugged")
            return captures

    live, given = reading(clock, Failing([VIDEO], clock, steps(50, 40, frame))), list[Read]()
    listened(live)
    with pytest.raises(SourceError, match="unplugged"):
        given.extend(read for group in live.reads() for read in group)
    assert sum(isinstance(item, VideoFrame) for read in given for item in read.items) == 50


def test_a_disconnection_ends_the_stream_and_what_follows_begins_an_epoch() -> None:
    clock = Clock()
    script = steps(60, 40, frame)
    script.insert(30, (script[29][0], Disconnected(stream="video")))
    items = [
        item for read in all_reads(reading(clock, Scripted([VIDEO], clock, script), most_pictures=60)) for item in read.items
    ]
    kinds = [type(item) for item in items if isinstance(item, StreamEnd | EpochStart)]
    assert kinds == [StreamEnd, EpochStart, StreamEnd]
    assert sum(isinstance(item, VideoFrame) for item in items) == 60


def test_closing_lets_the_sources_go() -> None:
    clock = Clock()
    source = Scripted([VIDEO], clock, steps(5, 40, frame))
    live = reading(clock, source)
    live.close()
    assert all(not isinstance(item, VideoFrame) for read in all_reads(live) for item in read.items)
    assert source.closed.is_set()
