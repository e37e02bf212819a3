"""Transcriber: the packaged Moonshine tiny-en weights on onnxruntime; greedy, a pure function of an utterance's samples."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from operators.encoders.speech import SpeechEncoder, state_count
from operators.interface import SpeechStates, TranscriptResult
from operators.onnx_session import open_session
from operators.packaged_weights import MOONSHINE_TINY, verified_folder
from operators.transcription.estimated_times import spread_words
from operators.transcription.limits import WORD_STREAM, TranscriberSettings
from operators.transcription.tokens import END, FIRST_SPECIAL, START, DecodedWord, read_tokens, words_of
from stream.errors import OperatorError
from stream.timeline.packets import Word
from stream.timeline.time import NS_PER_SAMPLE

_LAYERS: Final = 6
_HEADS: Final = 8
_HEAD_DIM: Final = 36
_SELF_KEYS = [f"{layer}.decoder.{part}" for layer in range(_LAYERS) for part in ("key", "value")]
_CROSS_KEYS = [f"{layer}.encoder.{part}" for layer in range(_LAYERS) for part in ("key", "value")]


class _Decoded(NamedTuple):
    words: list[DecodedWord]
    log_probabilities: list[float]


class MoonshineTranscriber:
    """Samples of one utterance to words; stateless, and may be called from several threads at once."""

    name = "moonshine-tiny-en"

    def __init__(self, encoder: SpeechEncoder, settings: TranscriberSettings | None = None) -> None:
        folder = verified_folder(MOONSHINE_TINY)
        self._encoder = encoder
        self._settings = settings or TranscriberSettings()
        self._decoder = open_session(folder / "decoder_model_merged.ort")
        self._tokens = read_tokens(folder / "tokenizer.bin")

    def transcribe(self, samples: np.ndarray, start_ns: int, states: SpeechStates | None = None) -> TranscriptResult:
        """Words of int16 (n,) samples at 16 kHz that start at `start_ns`, their times estimated.

        `states` are the encoder's of exactly these samples, encoded here where None. The log-probability is the mean
        over all tokens, the end's included; a rejected transcript keeps it and loses its words. Raises `OperatorError`
        when the states are of other samples.
        """
        if len(samples) < self._settings.shortest_samples:
            return TranscriptResult(words=(), origin=self.name)
        if states is not None and len(states.states) != state_count(len(samples)):
            raise OperatorError(
                f"{self.name}: states of other samples",
                found=f"{len(states.states)} states",
                expected=f"{state_count(len(samples))} for {len(samples)} samples",
            )
        words: list[Word] = []
        log_probabilities: list[float] = []
        for first, last in self._settings.pieces(samples):
            piece, piece_ns = samples[first:last], start_ns + first * NS_PER_SAMPLE
            if states is None or len(piece) < len(samples):
                states = self._encoder.encode(piece, piece_ns)
            decoded = self._decode(states.states, len(piece))
            log_probabilities += decoded.log_probabilities
            spans = spread_words([word.text for word in decoded.words], piece, piece_ns)
            for word, span in zip(decoded.words, spans, strict=True):
                words.append(
                    Word(
                        stream=WORD_STREAM,
                        sequence=len(words),
                        start_ns=span.start_ns,
                        end_ns=span.end_ns,
                        text=word.text,
                        estimated=True,
                        confidence=math.exp(sum(word.log_probabilities) / len(word.log_probabilities)),
                    )
                )
        mean = sum(log_probabilities) / len(log_probabilities)
        rejected = bool(words) and mean < self._settings.least_log_probability
        return TranscriptResult(
            words=() if rejected else tuple(words), origin=self.name, log_probability=mean, rejected=rejected
        )

    def _decode(self, states: np.ndarray, sample_count: int) -> _Decoded:
        limit = self._settings.most_tokens(sample_count)
        empty = np.zeros((1, _HEADS, 0, _HEAD_DIM), np.float32)
        feed: dict[str, np.ndarray] = {
            "encoder_hidden_states": np.ascontiguousarray(states[None], np.float32),
            "encoder_attention_mask": np.ones((1, sample_count), np.int64),
            "input_ids": np.array([[START]], np.int64),
            "use_cache_branch": np.array([False]),
            **{f"past_key_values.{key}": empty for key in _SELF_KEYS + _CROSS_KEYS},
        }
        # The first step computes the keys of the states; they are kept, and later steps ask only for what grows.
        logits = self._step(feed, _SELF_KEYS + _CROSS_KEYS)
        feed["use_cache_branch"] = np.array([True])
        ids: list[int] = []
        log_probabilities: list[float] = []
        while True:
            token, log_probability = _likeliest(logits)
            log_probabilities.append(log_probability)
            if token == END:
                break
            ids.append(token)
            if len(ids) == limit:
                break
            feed["input_ids"] = np.array([[token]], np.int64)
            logits = self._step(feed, _SELF_KEYS)
        return _Decoded(words_of(self._tokens, ids, log_probabilities[: len(ids)]), log_probabilities)

    def _step(self, feed: dict[str, np.ndarray], keys: list[str]) -> np.ndarray:
        logits, *values = self._decoder.run(["logits", *(f"present.{key}" for key in keys)], feed)
        feed.update(zip((f"past_key_values.{key}" for key in keys), values, strict=True))
        last: np.ndarray = logits[0, -1]
        return last


def _likeliest(logits: np.ndarray) -> tuple[int, float]:
    """The likeliest token that is text or the end, and its log-probability among all (float32 (32768,) logits, used up)."""
    token = END + int(np.argmax(logits[END:FIRST_SPECIAL]))
    peak = logits.max()
    above = float(logits[token]) - float(peak)
    # In place: another array of this size is fetched from the system each time, page by page.
    np.exp(np.subtract(logits, peak, out=logits), out=logits)
    return token, above - math.log(float(logits.sum()))
