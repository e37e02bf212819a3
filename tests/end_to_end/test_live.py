from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from deploy.inline import InlineSession, LoadedOperators, open_session
from deploy.recording import record_to
from deploy.replay import Replay
from deploy.rerun import rerun_session
from deploy.session.submitting import SessionNotice
from deploy.session_parts import declarations
from deploy.settings import Settings
from stream.errors import SettingsError
from stream.recording.reader import Recording
from stream.recording.schemas import CLOCKS, RecordingHead
from stream.sources.media import MediaSource
from stream.timeline.settings import TimelineSettings


def test_a_clip_read_as_if_it_came_live_is_predicted_recorded_and_replayed_to_the_same_bytes(
    talking_clip: Path, operators: LoadedOperators, tmp_path: Path
) -> None:
    notices: list[SessionNotice] = []
    recording = tmp_path / "live.mcap"
    with open_session(
        str(talking_clip), operators=operators, session="live", live=True, record=recording, notify=notices.append
    ) as session:
        given = [prediction.result for prediction in session]
        counts = session.summary.dispositions
    finals = [result for result in given if result.status == "final"]
    assert any(result.kind == "utterance" and result.transcript for result in finals)
    assert all(result.clock_uncertainty_ns > 0 for result in finals)
    assert counts["audio"].received == counts["audio"].used + counts["audio"].unclaimed
    assert [prediction.result for prediction in Replay(Recording(recording), operators)] == given
    clocks = [message.data for message in Recording(recording).messages(CLOCKS)]
    observed = [seen for data in clocks for seen in msgspec.json.decode(data)["observations"]]
    assert sum(seen["stream"] == "audio" for seen in observed) == counts["audio"].received


def test_what_a_live_session_kept_can_be_saved_at_its_end_and_replayed(
    operators: LoadedOperators, write_media: Callable[..., Path], tmp_path: Path
) -> None:
    clip = write_media(tmp_path / "clip.mkv", seconds=3)
    with open_session(str(clip), operators=operators, live=True) as session:
        given = [prediction.result for prediction in session]
        session.keep(tmp_path / "kept.mcap")
    kept = Recording(tmp_path / "kept.mcap")
    assert [prediction.result for prediction in kept.predictions()] == given
    assert [prediction.result for prediction in Replay(kept, operators)] == given


def test_the_media_of_each_connection_are_recorded_and_run_again(
    operators: LoadedOperators, write_media: Callable[..., Path], tmp_path: Path
) -> None:
    clip, target = write_media(tmp_path / "clip.mkv", seconds=2), tmp_path / "a.mcap"
    connections = [MediaSource(str(clip)), MediaSource(str(clip))]
    media, timeline = connections.pop(), TimelineSettings()
    head = RecordingHead(
        session="live",
        source="a camera",
        streams=declarations(media, None),
        segmentation="utterances",
        timeline=msgspec.to_builtins(timeline),
        provisionals=False,
        batches=operators.batches,
        model=operators.identity,
        transcriber=operators.transcriber,
        live=True,
    )
    session = InlineSession(
        media,
        None,
        operators,
        session="live",
        settings=Settings(timeline=timeline),
        pace="live",
        provisional=False,
        predict=False,
        owns_operators=False,
        recorder=record_to(target, head, media=media, waits=False),
        reopen=connections.pop,
    )
    with session, pytest.raises(IndexError):  # the camera does not come back a second time
        list(session)
    recording = Recording(target)
    (again,) = recording.reconnections()
    by_part = Counter(packet.part for packet in recording.media())
    assert by_part[0] == by_part[1] > 0
    with rerun_session(recording, operators) as rerun:
        finals = [p.result for p in rerun if p.result.status == "final"]
    assert {result.source_epoch for result in finals} == {0, 1}
    length_ns = 2_000_000_000
    assert finals[-1].end_ns == pytest.approx(max(again.at_ns, length_ns) + length_ns, abs=50_000_000)


def test_a_session_that_keeps_nothing_says_so(
    operators: LoadedOperators, write_media: Callable[..., Path], tmp_path: Path
) -> None:
    clip = write_media(tmp_path / "clip.mkv", seconds=1)
    with open_session(str(clip), operators=operators) as session, pytest.raises(SettingsError, match="found none kept"):
        session.keep(tmp_path / "kept.mcap")


def test_a_silent_stream_is_idle_and_the_other_is_predicted(
    operators: LoadedOperators, write_media: Callable[..., Path], tmp_path: Path
) -> None:
    clip = write_media(tmp_path / "clip.mkv", seconds=3, audio=False)
    with open_session(str(clip), operators=operators, live=True) as session:
        finals = [p.result for p in session if p.result.status == "final"]
    assert finals
    assert {result.modalities["video"].state for result in finals} <= {"present", "absent"}
