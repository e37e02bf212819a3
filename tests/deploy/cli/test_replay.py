from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cli_fakes import SPEECH, prediction

from stream.prediction import ModelIdentity, Prediction, decode
from stream.recording.entries import Arrived, Closed
from stream.recording.messages import MessageMaker
from stream.recording.schemas import BatchPlan, RecordingEnd, RecordingHead
from stream.recording.writer import RecordingWriter

Run = Callable[..., Any]
MODEL = ModelIdentity(name="fake", digest="recorded", licence="any")


def write(path: Path, predictions: Iterable[Prediction] = SPEECH, *, finish: bool = True, live: bool = False) -> Path:
    head = RecordingHead(
        session="clip",
        source="clip.mp4",
        streams=(),
        segmentation="utterances",
        timeline={},
        provisionals=True,
        batches=BatchPlan(speech=1, affect=16, device="cpu"),
        model=MODEL,
        transcriber="moonshine",
        live=live,
    )
    maker = MessageMaker()
    with RecordingWriter(path, head) as writer:
        for each in predictions:
            writer.write(maker.prediction(each))
        for batch in maker.entry(Arrived(0, Closed())):
            writer.write(batch)
        if finish:
            writer.finish(RecordingEnd(complete=True, dispositions={}))
    return path


class Replayed:
    """Stands in for the modules that load torch: a replay gives `predictions`, with a model of `digest`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.predictions: tuple[Prediction, ...] = SPEECH
        self.digest = "recorded"
        inline, replay, rerun = (types.ModuleType(f"deploy.{name}") for name in ("inline", "replay", "rerun"))
        inline.LoadedOperators = self.operators
        replay.Replay = lambda recording, operators, pace=None: iter(self.predictions)
        rerun.rerun_session = lambda *_, **__: contextlib.nullcontext(iter(self.predictions))
        rerun.recorded_transcriber = lambda recording: recording.head.transcriber
        for module in (inline, replay, rerun):
            monkeypatch.setitem(sys.modules, module.__name__, module)

    def operators(self, model: Path | None, *, transcriber: str) -> Any:
        identity = msgspec.structs.replace(MODEL, digest=self.digest)
        return types.SimpleNamespace(identity=identity, close=lambda: None)


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> Replayed:
    return Replayed(monkeypatch)


def test_equal_predictions_are_said_to_be(affectstream: Run, replayed: Replayed, tmp_path: Path) -> None:
    outcome = affectstream("replay", str(write(tmp_path / "a.mcap")), "--output", str(tmp_path / "out.jsonl"))
    assert outcome.code == 0
    assert "equal to the 5 predictions" in outcome.out
    assert [decode(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == list(SPEECH)


def test_the_media_can_be_run_again(affectstream: Run, replayed: Replayed, tmp_path: Path) -> None:
    assert "equal to the 5" in affectstream("replay", str(write(tmp_path / "a.mcap")), "--from-media").out


def test_what_differs_with_the_same_model_is_listed_and_fails(affectstream: Run, replayed: Replayed, tmp_path: Path) -> None:
    replayed.predictions = (*SPEECH[:3], prediction(6.5, 9, 2.5, "There was nothing else", revision=3), SPEECH[4])
    outcome = affectstream("replay", str(write(tmp_path / "a.mcap")))
    assert outcome.code == 1
    assert "sentiment.value" in outcome.out
    assert "transcript.text" in outcome.out
    assert "4 segments recorded, 4 in the replay; differ: 1 in words, 1 in other fields" in outcome.out


def test_segments_whose_spans_moved_are_counted_once_each(affectstream: Run, replayed: Replayed, tmp_path: Path) -> None:
    replayed.predictions = (
        SPEECH[0],
        prediction(2.1, 6.5, 1.2, "Thank you all very much for being here today, and welcome to this place", revision=5),
        prediction(6.5, 12, 0.3, "It goes on", revision=3),
    )
    outcome = affectstream("replay", str(write(tmp_path / "a.mcap")))
    assert (
        "4 segments recorded, 3 in the replay; differ: 2 in span, 1 in words, 1 in other fields; 1 only recorded" in outcome.out
    )


def test_what_differs_in_a_provisional_alone_is_said_so(affectstream: Run, replayed: Replayed, tmp_path: Path) -> None:
    replayed.predictions = (SPEECH[0], *SPEECH[2:])
    outcome = affectstream("replay", str(write(tmp_path / "a.mcap")))
    assert outcome.code == 1
    assert "4 in the replay; they differ in revisions before their last alone" in outcome.out


def test_the_media_of_a_live_session_may_differ_which_is_explained(
    affectstream: Run, replayed: Replayed, tmp_path: Path
) -> None:
    replayed.predictions = SPEECH[:4]
    recording = str(write(tmp_path / "a.mcap", live=True))
    outcome = affectstream("replay", recording, "--from-media")
    assert outcome.code == 0
    assert "recorded live" in outcome.out
    assert affectstream("replay", recording).code == 1


def test_another_model_may_differ(affectstream: Run, replayed: Replayed, tmp_path: Path) -> None:
    replayed.digest = "another"
    replayed.predictions = (*SPEECH[:4], prediction(9, 12, 0.3, "It goes on", revision=3, video="absent", emotion="neutral"))
    outcome = affectstream("replay", str(write(tmp_path / "a.mcap")), "--model", str(tmp_path))
    assert outcome.code == 0
    assert "0.1" in outcome.out
    assert "0.3" in outcome.out


def test_a_missing_prediction_is_a_difference(affectstream: Run, replayed: Replayed, tmp_path: Path) -> None:
    replayed.predictions = SPEECH[:4]
    assert affectstream("replay", str(write(tmp_path / "a.mcap"))).code == 1


def test_without_predictions_there_is_nothing_to_compare(affectstream: Run, replayed: Replayed, tmp_path: Path) -> None:
    outcome = affectstream("replay", str(write(tmp_path / "a.mcap", ())))
    assert outcome.code == 0
    assert "no predictions to compare" in outcome.out


def test_a_cut_recording_is_replayed_and_told(affectstream: Run, replayed: Replayed, tmp_path: Path) -> None:
    whole = write(tmp_path / "a.mcap")
    (tmp_path / "cut.mcap").write_bytes(whole.read_bytes()[:-40])
    outcome = affectstream("replay", str(tmp_path / "cut.mcap"))
    assert outcome.code == 1
    assert "Thank you all very much" in outcome.out
    assert outcome.err.count("is cut") == 1


@pytest.mark.parametrize("command", ["replay", "report"])
def test_no_recording_is_a_wrong_input(command: str, affectstream: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(b"\x89MCAP0\r\n")
    outcome = affectstream(command, str(path))
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
