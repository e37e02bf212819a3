"""Voice activity: the probability of speech per 32 ms, by the packaged Silero network on onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from operators.onnx_session import open_session
from operators.packaged_weights import SILERO, verified_folder
from stream.errors import OperatorError
from stream.timeline.packets import AudioChunk, Bound, Control, Packet, SpeechActivity, StreamEnd
from stream.timeline.time import ACTIVITY_STEP_NS, ACTIVITY_STEP_SAMPLES, NS_PER_SAMPLE, SAMPLE_RATE

_CONTEXT: Final = 64
"""Samples before a step that the network sees again."""
_RATE = np.array(SAMPLE_RATE, np.int64)


class SileroNetwork:
    """One step of Silero; stateless (the state goes in and comes out), and may be called from several threads at once."""

    def __init__(self) -> None:
        self._session = open_session(verified_folder(SILERO) / "silero_vad.onnx")

    def infer(self, window: np.ndarray, state: np.ndarray) -> tuple[float, np.ndarray]:
        """Probability of speech and next state of a float32 (1, 576) window in [-1, 1) and a float32 (2, 1, 128) state."""
        probability, state = self._session.run(None, {"input": window, "state": state, "sr": _RATE})
        return min(max(float(probability[0, 0]), 0.0), 1.0), state


class VoiceActivityOperator:
    """AudioChunk to SpeechActivity: a grid of 512 samples from the source epoch's first sample, whatever the chunks are.

    A step that holds a filled or a missing sample is masked and has probability 0; the network still runs over it, on
    zeros, so that after a gap its state is the one that silence leaves. What is given depends on the samples alone, never
    on how they were cut into chunks.
    """

    name = "voice activity"
    lookback_ns = ACTIVITY_STEP_NS

    _begun: bool
    _masked: bool
    _heard: int
    _held: int
    _start_ns: int
    _end_ns: int

    def __init__(self, network: SileroNetwork, *, output: str = "activity") -> None:
        self.output = output
        self._network = network
        self._sequence = 0
        self._epoch = 0
        self._promised_ns: int | None = None
        self._forget()

    def process(self, packet: Packet) -> Iterator[Packet | Control]:
        """The steps that a chunk completes, then a bound at the start of the next. Missing samples count as filled.

        Raises `OperatorError` when the chunk goes back behind samples that have been heard.
        """
        if not isinstance(packet, AudioChunk):
            raise OperatorError(f"operator {self.name}", found=type(packet).__name__, expected="AudioChunk")
        self._epoch = packet.epoch
        if not self._begun:
            self._begun = True
            # The grid is counted from the epoch's first sample also where the first chunk is not that.
            lead = packet.first_sample % ACTIVITY_STEP_SAMPLES
            self._heard = packet.first_sample - lead
            self._end_ns = packet.start_ns - lead * NS_PER_SAMPLE
        missing = packet.first_sample - self._heard
        if missing < 0:
            raise OperatorError(
                f"operator {self.name}: samples of {packet.stream} go back",
                found=f"sample {packet.first_sample}",
                expected=f"{self._heard} or later",
                fix="start a new source epoch",
            )
        if missing:
            yield from self._hear(np.zeros(missing, np.int16), self._end_ns, masked=True)
        yield from self._hear(packet.samples, packet.start_ns, masked=packet.filled)
        # A live chunk ends where its clock says, a little off from what its samples count up to; the next begins there.
        yield self._promise(self._start_ns if self._held else packet.end_ns)

    def bound(self, bound_ns: int) -> Iterator[Packet | Control]:
        """A bare bound of the audio: gives, masked, a step whose rest can no longer follow; then the bound, a step earlier."""
        if self._held and bound_ns - self.lookback_ns > self._start_ns:
            yield from self._hear(np.zeros(ACTIVITY_STEP_SAMPLES - self._held, np.int16), self._end_ns, masked=True)
        bound_ns -= self.lookback_ns
        yield self._promise(min(bound_ns, self._start_ns) if self._held else bound_ns)

    def finish(self, at_ns: int) -> Iterator[Packet | Control]:
        """The audio has ended at `at_ns`: the rest of less than a step, padded with zeros, ends where the audio ends."""
        if self._held:
            yield from self._step()
        yield self._promise(at_ns)
        yield StreamEnd(stream=self.output, at_ns=at_ns)

    def reset(self, epoch: int, at_ns: int) -> Iterator[Packet | Control]:
        """A new source epoch: the rest of the old one, padded with zeros, ends where its audio ends; a grid of its own follows.

        No bound comes with the rest: the clocks of both epochs may overlap a little, and nothing of the new one is behind.
        """
        if self._held:
            yield from self._step()
        self._epoch = epoch
        self._promise(at_ns)
        self._forget()

    def _forget(self) -> None:
        self._begun = self._masked = False
        self._heard = self._held = self._start_ns = self._end_ns = 0
        self._window = np.zeros((1, _CONTEXT + ACTIVITY_STEP_SAMPLES), np.float32)
        self._state = np.zeros((2, 1, 128), np.float32)

    def _hear(self, samples: np.ndarray, start_ns: int, *, masked: bool) -> Iterator[SpeechActivity]:
        taken = 0
        while taken < len(samples):
            if not self._held:
                self._start_ns = start_ns + taken * NS_PER_SAMPLE
            part = samples[taken : taken + ACTIVITY_STEP_SAMPLES - self._held]
            at = _CONTEXT + self._held
            if masked:
                self._masked = True
                self._window[0, at : at + len(part)] = 0
            else:
                np.multiply(part, np.float32(1 / 32768), out=self._window[0, at : at + len(part)])
            taken += len(part)
            self._held += len(part)
            self._end_ns = start_ns + taken * NS_PER_SAMPLE
            if self._held == ACTIVITY_STEP_SAMPLES:
                yield from self._step()
        self._heard += len(samples)

    def _step(self) -> Iterator[SpeechActivity]:
        self._window[0, _CONTEXT + self._held :] = 0
        probability, self._state = self._network.infer(self._window, self._state)
        self._window[0, :_CONTEXT] = self._window[0, -_CONTEXT:]
        masked, self._masked, self._held = self._masked, False, 0
        if self._promised_ns is None or self._start_ns >= self._promised_ns:
            # A step behind the bound lies in a gap that was passed over: nobody waits for it.
            yield SpeechActivity(
                stream=self.output,
                epoch=self._epoch,
                sequence=self._sequence,
                start_ns=self._start_ns,
                # A chunk that its uncertain clock put before the beginning lies on it, so that the next one overlaps it.
                end_ns=max(self._start_ns, self._end_ns),
                probability=0.0 if masked else probability,
                masked=masked,
            )
            self._sequence += 1

    def _promise(self, bound_ns: int) -> Bound:
        self._promised_ns = bound_ns if self._promised_ns is None else max(bound_ns, self._promised_ns)
        return Bound(stream=self.output, bound_ns=self._promised_ns)
