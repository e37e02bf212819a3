from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import msgspec

from deploy.inline import LoadedOperators, open_session
from deploy.replay import Replay
from deploy.settings import Settings
from stream.prediction import Result, Subject
from stream.recording.reader import Recording
from stream.timeline.settings import TimelineSettings
from stream.timeline.time import NS_PER_SECOND

LISTENING = Settings(timeline=TimelineSettings(listener_ns=2 * NS_PER_SECOND))


def lines(results: list[Result]) -> list[bytes]:
    return [msgspec.json.encode(result) for result in results]


def test_who_does_not_speak_is_seen_alone_and_nothing_else_changes(
    operators: LoadedOperators, shared_data: Path, tmp_path: Path
) -> None:
    """Two faces, the larger of which speaks from .9 s to the end."""
    clip, tape = str(shared_data / "clips" / "obama_speech.mp4"), tmp_path / "a.mcap"
    with open_session(clip, operators=operators, session="s") as session:
        plain = [prediction.result for prediction in session]
    with open_session(clip, operators=operators, session="s", settings=LISTENING, record=tape) as session:
        both = [prediction.result for prediction in session]
    assert lines([result for result in both if result.lane == "speech"]) == lines(plain)
    listening = [result for result in both if result.lane != "speech"]
    (speaker,) = {r.subject.track for r in plain if r.kind == "utterance" and r.subject and r.status == "final"}
    (lane,) = {result.lane for result in listening}
    assert lane != f"face:{speaker}"
    assert [(r.start_ns, r.end_ns) for r in listening[:-1]] == [
        (r.start_ns, following.start_ns) for r, following in pairwise(listening)
    ]
    for result in listening:
        assert result.subject == Subject(method="listener", track=int(lane.removeprefix("face:")))
        assert (result.kind, result.status, result.transcript) == ("window", "final", None)
        assert {name: report.state for name, report in result.modalities.items()} == {
            "video": "present",
            "audio": "absent",
            "text": "absent",
        }
        assert result.modalities["video"].weight == 1.0
    again = [prediction.result for prediction in Replay(Recording(tape), operators)]
    assert lines(again) == lines(both)
