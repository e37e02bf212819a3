"""Transcriber: any Whisper of faster-whisper (extra `whisper`), which measures the times of its words."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from operators.interface import SpeechStates, TranscriptResult
from operators.transcription.limits import WORD_STREAM, TranscriberSettings
from stream.errors import MissingExtraError, ModelFolderError
from stream.timeline.packets import Word
from stream.timeline.time import NS_PER_SAMPLE, SAMPLE_RATE, from_seconds

_SHORTEST_INPUT: Final = 6 * SAMPLE_RATE
"""Shorter audio is padded with zeros to it: below five seconds the decoder loops; the usual thirty cost five times as much."""
_TAIL: Final = SAMPLE_RATE
"""Zeros after longer audio, so that its last word has an end."""
_FRAME: Final = 160
"""Samples of one mel frame; the encoder gives a state for every second one."""
_PROMPT: Final = 4
"""The most tokens of the prompt."""
_NO_SPEECH: Final = 0.95
"""From this probability of no speech on nothing is believed: silence gives "you"."""


class WhisperTranscriber:
    """Samples of one utterance to words with measured times; stateless. Takes none of the packaged encoder's states.

    ctranslate2 loads torch where torch is installed, so a process that has to stay free of torch uses the packaged
    transcriber.
    """

    def __init__(
        self,
        model: str | Path = "tiny.en",
        *,
        settings: TranscriberSettings | None = None,
        device: str = "cpu",
        compute_type: str = "int8",
        language: str = "en",
        download: bool = False,
    ) -> None:
        """Load a model by size or out of a folder; without `download` a size is looked for on this machine only.

        Raises `MissingExtraError` without the extra and `ModelFolderError` where the model can't be loaded.
        """
        try:
            from faster_whisper import WhisperModel
            from faster_whisper.tokenizer import Tokenizer
        except ImportError as error:
            raise MissingExtraError(
                "transcriber whisper", found="no faster-whisper", fix='pip install "affectstream[whisper]"'
            ) from error
        try:
            self._model: Any = WhisperModel(
                str(model), device=device, compute_type=compute_type, cpu_threads=1, local_files_only=not download
            )
        except (RuntimeError, ValueError, OSError) as error:
            absent = isinstance(error, FileNotFoundError)  # a size that nobody has fetched
            raise ModelFolderError(
                f"Whisper model {model}",
                found="nothing on this machine" if absent else str(error),
                expected="a size or a folder with model.bin and tokenizer.json",
                fix=f"fetch it once: hf download Systran/faster-whisper-{model}" if absent else "name another one",
            ) from error
        multilingual = self._model.model.is_multilingual
        self._tokenizer: Any = Tokenizer(
            self._model.hf_tokenizer, multilingual, task="transcribe", language=language if multilingual else None
        )
        self._settings = settings or TranscriberSettings()
        self.name = f"whisper {Path(model).name}"

    def transcribe(self, samples: np.ndarray, start_ns: int, states: SpeechStates | None = None) -> TranscriptResult:  # noqa: ARG002 - it has an encoder of its own
        """Words of int16 (n,) samples at 16 kHz that start at `start_ns`. The log-probability is the mean over all tokens."""
        if len(samples) < self._settings.shortest_samples:
            return TranscriptResult(words=(), origin=self.name)
        words: list[Word] = []
        total, count, spoken = 0.0, 0, False
        for first, last in self._settings.pieces(samples):
            found, log_probability, tokens, heard = self._hear(
                samples[first:last], start_ns + first * NS_PER_SAMPLE, len(words)
            )
            words += found
            total, count, spoken = total + log_probability, count + tokens, spoken or heard
        rejected = bool(words) and (not spoken or total / count < self._settings.least_log_probability)
        return TranscriptResult(
            words=() if rejected else tuple(words), origin=self.name, log_probability=min(total / count, 0.0), rejected=rejected
        )

    def _hear(self, samples: np.ndarray, start_ns: int, sequence: int) -> tuple[list[Word], float, int, bool]:
        """Words, the sum of the log-probabilities, the number of tokens, and whether anyone speaks at all."""
        length = max(_SHORTEST_INPUT, len(samples) + _TAIL)
        audio = np.zeros(length, np.float32)
        np.multiply(samples, np.float32(1 / 32768), out=audio[: len(samples)])
        features = self._model.feature_extractor(audio, padding=0)[:, : length // (2 * _FRAME) * 2]
        encoded = self._model.encode(features)
        most = max(self._settings.most_tokens(len(samples)), _PROMPT)
        prompt = [*self._tokenizer.sot_sequence, self._tokenizer.no_timestamps]
        heard = self._model.model.generate(
            encoded,
            [prompt],
            beam_size=1,
            length_penalty=0,
            max_length=min(2 * most, self._model.max_length),  # ctranslate2 keeps half of it for the prompt
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        tokens = [token for token in heard.sequences_ids[0] if token < self._tokenizer.eot]
        frames = -(-len(samples) // _FRAME)
        (aligned,) = self._model.find_alignment(self._tokenizer, [tokens], encoded, frames) or [[]]
        end_ns = start_ns + len(samples) * NS_PER_SAMPLE
        words: list[Word] = []
        last_ns = start_ns
        for text, start, end, probability in _join_punctuation(aligned):
            first_ns = min(max(start_ns + from_seconds(start), last_ns), end_ns)
            last_ns = min(max(start_ns + from_seconds(end), first_ns), end_ns)
            words.append(
                Word(
                    stream=WORD_STREAM,
                    sequence=sequence + len(words),
                    start_ns=first_ns,
                    end_ns=last_ns,
                    text=text,
                    confidence=min(max(probability, 0.0), 1.0),
                )
            )
        # Without a length penalty the score is the sum over the tokens, the end's included.
        return words, float(heard.scores[0]), len(tokens) + 1, heard.no_speech_prob < _NO_SPEECH


def _join_punctuation(aligned: list[dict[str, Any]]) -> list[tuple[str, float, float, float]]:
    """Text, start, end (seconds) and probability of each word; what follows without a space belongs to the word before."""
    words: list[tuple[str, float, float, float]] = []
    for part in aligned:
        text, start, end, probability = part["word"], float(part["start"]), float(part["end"]), float(part["probability"])
        if words and not text.startswith(" "):
            before = words.pop()
            # A full stop is aligned with the silence after it: the word keeps its own end.
            words.append((before[0] + text.strip(), before[1], end if any(map(str.isalnum, text)) else before[2], before[3]))
        elif text.strip():
            words.append((text.strip(), start, end, probability))
    return words
