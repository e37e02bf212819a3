from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from operators.encoders.speech import SpeechEncoder
from operators.interface import TranscriptResult
from operators.transcription.limits import TranscriberSettings
from operators.transcription.moonshine import MoonshineTranscriber
from stream.errors import OperatorError
from stream.timeline.packets import packets_equal
from stream.timeline.time import NS_PER_SAMPLE

Utterances = Callable[[np.ndarray], list[tuple[int, int]]]
DIGITS = dict(zip("z123456789", ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"], strict=True))
GRID = (
    {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    {"b": "blue", "g": "green", "r": "red", "w": "white"},
    {"a": "at", "b": "by", "i": "in", "w": "with"},
    {letter: letter for letter in "abcdefghijklmnopqrstuvwxyz"},
    DIGITS,
    {"a": "again", "n": "now", "p": "please", "s": "soon"},
)


def normalised(text: str) -> list[str]:
    """Words without case and punctuation, digits and titles spelled out."""
    text = re.sub(r"\d", lambda digit: f" {(DIGITS | {'0': 'zero'})[digit[0]]} ", text.lower())
    text = re.sub(r"\bmr\b", "mister", text)
    return re.sub(r"[^a-z ]", " ", text.replace("'", "").replace("\u2019", "")).split()


def word_errors(reference: list[str], heard: list[str]) -> int:
    """Substitutions, insertions and deletions between two sequences of words."""
    row = list(range(len(heard) + 1))
    for i, expected in enumerate(reference, 1):
        last, row[0] = row[0], i
        for j, word in enumerate(heard, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (expected != word))
    return row[-1]


def hear(transcriber: MoonshineTranscriber, utterances: Utterances, samples: np.ndarray) -> list[str]:
    results = [transcriber.transcribe(samples[a:b], a * NS_PER_SAMPLE) for a, b in utterances(samples)]
    return normalised(" ".join(word.text for result in results for word in result.words))


def slices(samples: np.ndarray) -> list[np.ndarray]:
    """Eight stretches of different length."""
    return [samples[k * 9_000 : k * 9_000 + 12_000 + 7_001 * (k % 4)] for k in range(8)]


def test_word_error_rate_on_talking_faces(
    moonshine: MoonshineTranscriber, utterances: Utterances, load_audio: Callable[[Path], np.ndarray], shared_data: Path
) -> None:
    errors = words = 0
    for path in sorted((shared_data / "clips").glob("*.mpg")):
        code = path.stem.split("_")[-1]
        reference = [meaning[letter] for meaning, letter in zip(GRID, code, strict=True)]
        errors += word_errors(reference, hear(moonshine, utterances, load_audio(path)))
        words += len(reference)
    assert words >= 60
    assert errors / words <= 0.30, f"word error rate {errors / words:.3f}"


def test_word_error_rate_on_read_speech(
    moonshine: MoonshineTranscriber, utterances: Utterances, load_audio: Callable[[Path], np.ndarray], shared_data: Path
) -> None:
    errors = words = 0
    for path in sorted((shared_data / "speech" / "librivox").glob("*.wav")):
        reference = normalised(path.with_suffix(".txt").read_text())
        errors += word_errors(reference, hear(moonshine, utterances, load_audio(path)))
        words += len(reference)
    assert words >= 60
    assert errors / words <= 0.15, f"word error rate {errors / words:.3f}"


def test_packaged_speech_is_understood(moonshine: MoonshineTranscriber, utterances: Utterances, beckett: np.ndarray) -> None:
    assert {"ever", "tried", "failed", "again", "better"} <= set(hear(moonshine, utterances, beckett))


def test_text_does_not_change_with_the_order_of_calls(moonshine: MoonshineTranscriber, beckett: np.ndarray) -> None:
    parts = slices(beckett)
    forward = [moonshine.transcribe(part, 5) for part in parts]
    backward = [moonshine.transcribe(part, 5) for part in reversed(parts)]
    assert sum(len(result.words) for result in forward) > 10
    assert all(map(packets_equal, forward, reversed(backward)))


def test_text_does_not_change_with_threads_and_other_sessions(moonshine: MoonshineTranscriber, beckett: np.ndarray) -> None:
    parts = slices(beckett)
    alone = [moonshine.transcribe(part, 5) for part in parts]
    other = MoonshineTranscriber(SpeechEncoder())
    with ThreadPoolExecutor(2) as pool:
        # Two threads in one transcriber, while another session's works on other audio.
        together = [pool.submit(moonshine.transcribe, part, 5) for part in parts]
        others = [pool.submit(other.transcribe, part, 5) for part in reversed(parts)]
        assert all(map(packets_equal, alone, [done.result() for done in together]))
        assert all(map(packets_equal, reversed(alone), [done.result() for done in others]))


def test_given_states_give_the_text_of_the_samples(
    moonshine: MoonshineTranscriber, speech_encoder: SpeechEncoder, beckett: np.ndarray
) -> None:
    samples = beckett[:60_000]
    states = speech_encoder.encode(samples, 0)
    assert packets_equal(moonshine.transcribe(samples, 0, states), moonshine.transcribe(samples, 0))
    with pytest.raises(OperatorError, match="states of other samples: found 154 states"):
        moonshine.transcribe(samples[:50_000], 0, states)


def test_sounds_without_speech_give_no_words(
    moonshine: MoonshineTranscriber, utterances: Utterances, without_speech: np.ndarray
) -> None:
    assert hear(moonshine, utterances, without_speech) == []


def test_an_improbable_transcript_is_rejected_and_its_words_kept_out(
    speech_encoder: SpeechEncoder, beckett: np.ndarray
) -> None:
    samples = beckett[:60_000]
    strict = MoonshineTranscriber(speech_encoder, TranscriberSettings(least_log_probability=-1e-6))
    lenient = MoonshineTranscriber(speech_encoder, TranscriberSettings(least_log_probability=-99.0))
    rejected, believed = strict.transcribe(samples, 0), lenient.transcribe(samples, 0)
    assert rejected.rejected
    assert rejected.words == ()
    assert not believed.rejected
    assert believed.words
    assert rejected.log_probability == believed.log_probability
    assert believed.log_probability is not None
    assert -1.0 < believed.log_probability < 0.0


@pytest.mark.parametrize("sample_count", [0, 1, 3_999])
def test_audio_too_short_for_a_word_is_not_decoded(
    moonshine: MoonshineTranscriber, beckett: np.ndarray, sample_count: int
) -> None:
    result = moonshine.transcribe(beckett[20_000 : 20_000 + sample_count], 0)
    assert packets_equal(result, TranscriptResult(words=(), origin=moonshine.name))


def test_words_lie_in_order_inside_the_utterance(moonshine: MoonshineTranscriber, beckett: np.ndarray) -> None:
    start_ns = 3_000_000_007
    samples = beckett[:80_000]
    words = moonshine.transcribe(samples, start_ns).words
    edges = [edge for word in words for edge in (word.start_ns, word.end_ns)]
    assert len(words) > 5
    assert edges == sorted(edges)
    assert start_ns <= edges[0]
    assert edges[-1] <= start_ns + len(samples) * NS_PER_SAMPLE
    assert [word.sequence for word in words] == list(range(len(words)))
    assert all(word.estimated and word.confidence is not None and 0 < word.confidence <= 1 for word in words)


def test_audio_too_long_for_the_decoder_is_heard_in_pieces(moonshine: MoonshineTranscriber, beckett: np.ndarray) -> None:
    once = [word.text.strip(".,!?").lower() for word in moonshine.transcribe(beckett, 0).words]
    thrice = moonshine.transcribe(np.tile(beckett, 3), 0).words
    assert len(beckett) * 3 > TranscriberSettings().longest_samples
    heard = [word.text.strip(".,!?").lower() for word in thrice]
    assert word_errors(once * 3, heard) <= 0.2 * len(once) * 3
    assert [word.start_ns for word in thrice] == sorted(word.start_ns for word in thrice)
