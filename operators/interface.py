"""What an operator is: small protocols that both runtimes compose, and the data between the operators. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec
import numpy as np

from stream.prediction import SentimentEstimate, Subject
from stream.timeline.packets import Control, Face, Faces, Modality, Packet, Word
from stream.timeline.segments import SegmentKind, SliceState, Status

EMOTIONS = ("neutral", "joy", "sadness", "anger", "surprise", "fear", "disgust")
"""The published emotions, in order: the seven of MELD, which FER2013 shares; RAVDESS's calm counts as neutral."""


class StreamOperator(Protocol):
    """Per-session state on one stream: packets in, packets out in order of start, a bound after every input.

    `output` names the stream that it gives. After every input, also one that gives nothing and also for a dropped one,
    it gives a `Bound` = input's bound - `lookback_ns`. What it computes much with is injected as a stateless function of
    a batch, so that the runtime decides where that runs.
    """

    name: str
    output: str
    lookback_ns: int

    def process(self, packet: Packet) -> Iterable[Packet | Control]:
        """What one packet gives. Called in order, by one thread at a time."""
        ...

    def bound(self, bound_ns: int) -> Iterable[Packet | Control]:
        """What a bare bound of the input gives (a bound of the output, and what it completes)."""
        ...

    def finish(self, at_ns: int) -> Iterable[Packet | Control]:
        """The input has ended: what is left, and the output's own `StreamEnd` where it has a name of its own."""
        ...

    def reset(self, epoch: int, at_ns: int) -> Iterable[Packet | Control]:
        """A new source epoch: what is left of the one before, given ahead of it; then state is forgotten, track ids go on."""
        ...


@runtime_checkable
class CompletingOperator(StreamOperator, Protocol):
    """A stream operator whose packets want one thing more, which costs less for several of them at once than one by one."""

    def complete(self, packets: Sequence[Packet]) -> Sequence[Packet]:
        """Packets that `process` gave, of one input or of several, completed: as many, in order, each as if it were alone.

        Stateless. Called with everything that `process` gives, before anybody else sees it.
        """
        ...


class FaceEncoder(Protocol):
    """A packet encoder: crops in, features out; stateless."""

    feature_dim: int

    def prepare(self) -> None:
        """Runs each shape once, so that nothing is compiled while somebody waits."""
        ...

    def infer(self, crops: np.ndarray) -> np.ndarray:
        """uint8 (n, 48, 48) crops to float32 (n, feature_dim) features; a row does not depend on its neighbours."""
        ...


class SegmentInput(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A segment as the segment operators see it.

    `samples` int16 (n,) at 16 kHz covers [start_ns, end_ns) of the audio stream, `sample_mask` bool (n,) is False where
    nothing was heard (without audio: everywhere); `speech` is the probability of speech per 32 ms step, float32 (m,), and
    `speech_ns` the span [first speech step - pad, last speech step + pad) inside the segment, None where nobody speaks.
    `faces` are the picked frames in order. `words` are given words (a declared stream of words switches the transcriber off).
    """

    kind: SegmentKind
    status: Status
    start_ns: int
    end_ns: int
    continues: bool
    audio_state: SliceState
    samples: np.ndarray
    sample_mask: np.ndarray
    speech: np.ndarray
    speech_ns: tuple[int, int] | None
    video_state: SliceState
    video_coverage: float
    faces: tuple[Faces, ...]
    text_state: SliceState | None
    """None where no stream of words is declared."""
    words: tuple[Word, ...]
    shed: tuple[Modality, ...] = ()
    """What is left out because the pipeline is behind: text is then not transcribed, of video there are no faces."""


class SpeechStates(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The packaged speech encoder's states of a stretch of audio: float32 (t, d), one per `step_ns` from `start_ns`.

    `layers` float32 (ceil(t / 4), k * d) are those of k inner layers side by side, means of four states in turn: what is
    said lies in the last states, how it is said in the middle ones.
    """

    start_ns: int
    step_ns: int
    states: np.ndarray
    layers: np.ndarray


class TranscriptResult(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a transcriber heard in one utterance."""

    words: tuple[Word, ...]
    origin: str
    log_probability: float | None = None
    rejected: bool = False


class SpeechResult(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the speech stage gives the fusion: the encoder's states (None without speech) and the transcript."""

    states: SpeechStates | None
    transcript: TranscriptResult | None
    elapsed_ms: dict[str, float] = {}
    """Wall-clock milliseconds by stage ("speech", "transcription"); for `measured` alone."""


class AffectResult(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a model predicts for one segment; None where nothing present says anything about it.

    `emotions` float32 (7,) in the order of `EMOTIONS`; `weights` share of each modality ("text", "audio", "video")
    in the result, adding up to 1 where anything was predicted; `subject` is whose face was read, None where nobody
    was looked for.
    """

    sentiment: SentimentEstimate | None
    emotions: np.ndarray | None
    valence: float | None
    arousal: float | None
    weights: dict[str, float]
    subject: Subject | None = None


class Transcriber(Protocol):
    """Turns the audio of one utterance into words; pure."""

    name: str

    def transcribe(self, samples: np.ndarray, start_ns: int, states: SpeechStates | None) -> TranscriptResult:
        """Words of int16 (n,) samples at 16 kHz that start at `start_ns`; `states` are the encoder's where it shares one."""
        ...


class SegmentModel(Protocol):
    """Encoders, fusion and heads of one model folder: a pure function of segments."""

    name: str
    digest: str
    licence: str
    licences: Mapping[str, str]
    device: str

    def infer(self, batch: Sequence[tuple[SegmentInput, SpeechResult]]) -> list[AffectResult]:
        """One result per segment, in order; any modality may be missing."""
        ...


def largest_face(faces: Faces) -> Face | None:
    """The largest face of a frame by the area of its box, None where nobody is visible."""
    return max(faces.faces, key=lambda f: (f.box[2] - f.box[0]) * (f.box[3] - f.box[1]), default=None)
