"""The speech stage of a segment: the packaged encoder once, then the transcriber on its states. Loads no torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from operators.interface import SegmentInput, SpeechResult, SpeechStates, Transcriber
from stream.timeline.packets import Modality
from stream.timeline.time import NS_PER_SAMPLE


class StatesEncoder(Protocol):
    """The encoder that the transcriber shares with the speech head."""

    def encode(self, samples: np.ndarray, start_ns: int) -> SpeechStates:
        """States of int16 (n,) samples at 16 kHz."""
        ...


class SpeechStage:
    """Encodes the speech of a segment and, unless words are given or shed, transcribes it; a pure function of the segment.

    Silence is not transcribed: on it such models invent words.
    """

    def __init__(self, encoder: StatesEncoder, transcriber: Transcriber) -> None:
        self._encoder = encoder
        self._transcriber = transcriber

    def infer(self, batch: Sequence[SegmentInput]) -> list[SpeechResult]:
        """One result per segment, in order."""
        return [self._process(segment) for segment in batch]

    def _process(self, segment: SegmentInput) -> SpeechResult:
        speech_ns = segment.speech_ns
        if speech_ns is None:
            return SpeechResult(states=None, transcript=None)
        first, last = ((edge_ns - segment.start_ns) // NS_PER_SAMPLE for edge_ns in speech_ns)
        samples = segment.samples[first:last]
        if not len(samples):
            return SpeechResult(states=None, transcript=None)
        begun = time.perf_counter()
        states = self._encoder.encode(samples, speech_ns[0])
        encoded = time.perf_counter()
        elapsed_ms = {"speech": (encoded - begun) * 1e3}
        transcript = None
        if segment.text_state is None and Modality.TEXT not in segment.shed:
            transcript = self._transcriber.transcribe(samples, speech_ns[0], states)
            elapsed_ms["transcription"] = (time.perf_counter() - encoded) * 1e3
        return SpeechResult(states=states, transcript=transcript, elapsed_ms=elapsed_ms)
