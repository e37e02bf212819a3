from __future__ import annotations

import errno
import threading

import numpy as np
import pytest

from deploy.session import recorder as recording
from deploy.session.recorder import ThreadedRecorder
from stream.recording.messages import Batch
from stream.recording.schemas import DOOR, MediaPacket, RecordingEnd
from stream.timeline.packets import Bound, VideoFrame

END = RecordingEnd(complete=True, dispositions={})
SECOND = 1_000_000_000


class Sink:
    """Keeps what it gets; waits before the first batch until it is let; fails from the n-th batch on."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.batches: list[Batch] = []
        self.end: RecordingEnd | None = None
        self.closed = 0
        self.let = threading.Event()
        self._fails_at = fails_at

    def write(self, batch: Batch) -> None:
        self.let.wait()
        if len(self.batches) == self._fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.batches.append(batch)

    def finish(self, end: RecordingEnd) -> None:
        self.end = end

    def close(self) -> None:
        self.closed += 1


class Picture:
    width = 640
    height = 480

    def rgb(self, width: int, height: int) -> np.ndarray:
        return np.zeros((height, width, 3), np.uint8)

    def grey(self) -> np.ndarray:
        raise AssertionError


def bound(second: int) -> Bound:
    return Bound(stream="audio", bound_ns=second * SECOND)


def packet(size: int) -> MediaPacket:
    return MediaPacket(track=0, pts=0, dts=0, duration=0, key=True, data=bytes(size))


def test_what_is_handed_over_is_written_and_then_the_end() -> None:
    sink = Sink()
    sink.let.set()
    recorder = ThreadedRecorder(sink)
    for second in range(5):
        recorder.entry(bound(second), second * SECOND)
    recorder.finish(END)
    assert [batch[-1].topic for batch in sink.batches] == [DOOR] * 5
    assert sink.end == END
    assert sink.closed == 1
    assert recorder.failure is None


def test_a_full_disk_ends_the_recording_with_one_line_and_nothing_else() -> None:
    sink = Sink(fails_at=2)
    sink.let.set()
    recorder = ThreadedRecorder(sink)
    for second in range(500):
        recorder.entry(bound(second), second * SECOND)
    recorder.finish(END)
    assert len(sink.batches) == 2
    assert sink.end is None
    assert recorder.failure is not None
    assert "No space left" in recorder.failure
    assert "\n" not in recorder.failure


def test_where_it_may_not_wait_what_does_not_fit_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "WAITING_BYTES", 1_000_000)
    sink = Sink()
    recorder = ThreadedRecorder(sink, waits=False)
    for _ in range(20):
        recorder.media(packet(300_000), 0)
    sink.let.set()
    recorder.finish(END)
    written = sum(len(batch) for batch in sink.batches)
    assert sink.end is not None
    assert 0 < sink.end.lost["/media"] == 20 - written
    assert recorder.failure is not None
    assert "/media" in recorder.failure


def test_a_files_session_waits_for_the_writer_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "WAITING_BYTES", 1_000_000)
    sink = Sink()
    recorder = ThreadedRecorder(sink)

    def hand_over() -> None:
        for _ in range(20):
            recorder.media(packet(300_000), 0)

    session = threading.Thread(target=hand_over)
    session.start()
    sink.let.set()
    session.join()
    recorder.finish(END)
    assert len(sink.batches) == 20
    assert recorder.failure is None


def test_pictures_are_few_and_small() -> None:
    sink = Sink()
    sink.let.set()
    recorder = ThreadedRecorder(sink)
    frames = [
        VideoFrame(stream="video", sequence=k, start_ns=k * SECOND // 25, end_ns=k * SECOND // 25, image=Picture())
        for k in range(50)
    ]
    recorder.read(frames)
    recorder.finish(END)
    assert [batch[0].topic for batch in sink.batches] == ["/picture/video"] * 4
    assert all(len(batch[0].data) < 20_000 for batch in sink.batches)


def test_closed_without_an_end_the_recording_has_none() -> None:
    sink = Sink()
    recorder = ThreadedRecorder(sink)
    recorder.close()
    recorder.close()
    recorder.entry(bound(1), 0)
    assert sink.end is None
