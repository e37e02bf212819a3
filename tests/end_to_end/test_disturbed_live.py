"""A live run with jitter, drift, late words, a silent stream and losses: recorded, and replayed to the same bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from recording_rewriting import changes_one_chunk, digest, rewrite, without_predictions

from deploy.inline import LoadedOperators, new_predictor
from deploy.replay import Replay
from deploy.session.engine import Session, SessionPlan
from deploy.session.live_reading import LiveReading
from deploy.session.recorder import ThreadedRecorder
from deploy.session.submitting import SessionNotice
from deploy.session_parts import stream_operators
from deploy.settings import EngineSettings
from stream.prediction import Prediction
from stream.recording.reader import Recording
from stream.recording.schemas import RecordingEnd, RecordingHead, segmentation_name
from stream.recording.writer import RecordingWriter
from stream.sources.live import Capture, Captured
from stream.sources.media import MediaSource
from stream.timeline.live import LiveDoor, LiveStream
from stream.timeline.packets import AudioChunk, Modality, Packet, VideoFrame, Word
from stream.timeline.settings import TimelineSettings, WindowSettings
from stream.timeline.time import NS_PER_MS, NS_PER_SECOND
from stream.timeline.watermark import StreamDeclaration

STREAMS = (
    LiveStream(name="video", modality=Modality.VIDEO, device="camera"),
    LiveStream(name="audio", modality=Modality.AUDIO, device="microphone"),
    LiveStream(name="words", modality=Modality.TEXT),
)
RATES = {"video": 1 + 200e-6, "audio": 1 - 100e-6, "words": 1.0}
AHEAD_NS = {"video": 5_000 * NS_PER_SECOND, "audio": 300 * NS_PER_SECOND, "words": 0}
SILENT_NS = (3 * NS_PER_SECOND, 6 * NS_PER_SECOND)
"""While the camera gives nothing."""
LATE_NS = 2 * NS_PER_SECOND
"""How late words come."""


def packets_of(clip: Path) -> Iterator[Packet]:
    source = MediaSource(str(clip))
    while not source.ended:
        yield from (item for item in source.read() if isinstance(item, VideoFrame | AudioChunk))
    source.close()
    for number in range(16):
        start_ns = number * NS_PER_SECOND // 2
        yield Word(stream="words", sequence=number, start_ns=start_ns, end_ns=start_ns + 300 * NS_PER_MS, text=f"word{number}")


def disturbed(clip: Path) -> list[tuple[int, Captured]]:
    """Every packet with its arrival: stamped by a clock that drifts, delayed, some lost."""
    rng = np.random.default_rng(7)
    arrivals, given = {stream.name: 0 for stream in STREAMS}, []
    for packet in packets_of(clip):
        name = packet.stream
        delay_ns = LATE_NS if name == "words" else int(rng.exponential(15 * NS_PER_MS))
        lost = name == "video" and (SILENT_NS[0] <= packet.start_ns < SILENT_NS[1] or rng.random() < 0.1)
        arrivals[name] = max(arrivals[name], packet.end_ns + delay_ns)
        if not lost:
            start_ns, end_ns = (round(edge * RATES[name]) + AHEAD_NS[name] for edge in (packet.start_ns, packet.end_ns))
            stamped = msgspec.structs.replace(packet, start_ns=start_ns, end_ns=end_ns)
            given.append((arrivals[name], Captured(packet=stamped, sequence=packet.sequence)))
    return sorted(given, key=lambda entry: entry[0])


class Playing:
    """A source that gives each packet at its arrival, in real time."""

    def __init__(self, script: list[tuple[int, Captured]]) -> None:
        self.live_streams: tuple[LiveStream, ...] = STREAMS
        self._script = script[::-1]
        self._begun_s = time.monotonic()
        self._closed = threading.Event()

    def read(self) -> list[Capture] | None:
        if not self._script:
            return None
        arrival_ns, captured = self._script.pop()
        due_s = self._begun_s + arrival_ns / NS_PER_SECOND
        return None if self._closed.wait(max(0.0, due_s - time.monotonic())) else [captured]

    def close(self) -> None:
        self._closed.set()


def run(
    script: list[tuple[int, Captured]], operators: LoadedOperators, timeline: TimelineSettings, target: Path
) -> tuple[list[Prediction], Session, list[SessionNotice]]:
    streams = (
        *(StreamDeclaration(name=stream.name, modality=stream.modality) for stream in STREAMS),
        StreamDeclaration(name="activity", modality=Modality.ACTIVITY, source="audio"),
    )
    head = RecordingHead(
        session="disturbed",
        source="a script",
        streams=streams,
        segmentation=segmentation_name(timeline),
        timeline=msgspec.to_builtins(timeline),
        provisionals=True,
        batches=operators.batches,
        model=operators.identity,
        transcriber=operators.transcriber,
    )
    recorder, notices = ThreadedRecorder(RecordingWriter(target, head)), list[SessionNotice]()
    begun_s = time.monotonic()
    session = Session(
        SessionPlan(
            streams=streams,
            operators=stream_operators(streams, operators),
            predictor=new_predictor("disturbed", operators, timeline, patience_s=0.0),
            timeline=timeline,
            engine=EngineSettings(),
            recorder=recorder,
            live=LiveReading([Playing(script)], LiveDoor(STREAMS), lambda: round((time.monotonic() - begun_s) * NS_PER_SECOND)),
            notify=notices.append,
        )
    )
    given = list(session)
    recorder.finish(RecordingEnd(complete=True, dispositions=session.dispositions()))
    return given, session, notices


@pytest.mark.parametrize("segmentation", ["utterances", "windows"])
def test_a_disturbed_live_run_is_replayed_to_the_byte_and_one_changed_packet_changes_it(
    talking_clip: Path, operators: LoadedOperators, tmp_path: Path, segmentation: str
) -> None:
    timeline = TimelineSettings() if segmentation == "utterances" else TimelineSettings(segmentation=WindowSettings())
    given, session, notices = run(disturbed(talking_clip), operators, timeline, tmp_path / "a.mcap")
    live = digest(given)

    finals = [p.result for p in given if p.result.status != "provisional"]
    assert {"stream-idle", "stream-back"} <= {notice.event for notice in notices if notice.stream == "video"}
    assert any(result.modalities["text"].state == "present" for result in finals)
    assert all(result.clock_uncertainty_ns > 0 for result in finals)
    counts = session.dispositions()
    assert counts["audio"].used + counts["audio"].unclaimed == counts["audio"].received
    assert sum(counts["video"].dropped.values()) < counts["video"].received

    bare = rewrite(tmp_path / "a.mcap", tmp_path / "b.mcap", without_predictions)
    assert list(Recording(bare).predictions()) == []
    replays = [Replay(Recording(bare), operators) for _ in range(2)]
    assert [digest(replay) for replay in replays] == [live, live]
    assert replays[0].dispositions() == counts
    changed = rewrite(bare, tmp_path / "c.mcap", changes_one_chunk())
    assert digest(Replay(Recording(changed), operators)) != live
