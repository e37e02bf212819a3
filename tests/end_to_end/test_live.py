from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from deploy.inline import LoadedOperators, open_session
from deploy.replay import Replay
from deploy.session.submitting import SessionNotice
from stream.errors import SettingsError
from stream.recording.reader import Recording
from stream.recording.schemas import CLOCKS


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
