"""A scene for tests of the timeline: an aligner and its packets, all times in milliseconds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from stream.timeline.alignment import Aligner
from stream.timeline.dispositions import Ledger
from stream.timeline.packets import (
    AudioChunk,
    Bound,
    EpochStart,
    Faces,
    Item,
    Modality,
    Packet,
    SpeechActivity,
    StreamActive,
    StreamEnd,
    StreamIdle,
    Word,
)
from stream.timeline.segments import Late, Revision, Slice
from stream.timeline.settings import (
    LineSettings,
    SegmentationSettings,
    TimelineSettings,
    UtteranceSettings,
    WindowSettings,
)
from stream.timeline.time import NS_PER_MS, Span
from stream.timeline.watermark import StreamDeclaration

VIDEO = StreamDeclaration(name="video", modality=Modality.VIDEO)
AUDIO = StreamDeclaration(name="audio", modality=Modality.AUDIO)
ACTIVITY = StreamDeclaration(name="activity", modality=Modality.ACTIVITY, source="audio")
WORDS = StreamDeclaration(name="words", modality=Modality.TEXT)


class Given(NamedTuple):
    """A revision, briefly."""

    kind: str
    start: float
    end: float
    number: int
    status: str
    reason: str


def brief(revision: Revision) -> Given:
    return Given(
        revision.kind,
        revision.start_ns / NS_PER_MS,
        revision.end_ns / NS_PER_MS,
        revision.number,
        revision.status,
        revision.reason,
    )


def ns(ms: float) -> int:
    return round(ms * NS_PER_MS)


def frame(at: float, *, epoch: int = 0) -> Faces:
    return Faces(stream="video", epoch=epoch, sequence=round(at), start_ns=ns(at), end_ns=ns(at), faces=())


def chunk(start: float, end: float, *, epoch: int = 0, filled: bool = False, value: int = 0) -> AudioChunk:
    samples = np.full(round((end - start) * 16), value, np.int16)
    return AudioChunk(
        stream="audio",
        epoch=epoch,
        sequence=round(start),
        start_ns=ns(start),
        end_ns=ns(end),
        samples=samples,
        first_sample=round(start * 16),
        filled=filled,
    )


def step(start: float, end: float, probability: float, *, epoch: int = 0, masked: bool = False) -> SpeechActivity:
    return SpeechActivity(
        stream="activity",
        epoch=epoch,
        sequence=round(start),
        start_ns=ns(start),
        end_ns=ns(end),
        probability=probability,
        masked=masked,
    )


def word(start: float, end: float) -> Word:
    return Word(stream="words", sequence=round(start), start_ns=ns(start), end_ns=ns(end), text="word")


def utterances(**ms: float) -> UtteranceSettings:
    """The defaults, some of them replaced by milliseconds (`threshold` as it is)."""
    return UtteranceSettings(**{k if k == "threshold" else f"{k}_ns": v if k == "threshold" else ns(v) for k, v in ms.items()})


def windows(length: float, hop: float | None = None) -> WindowSettings:
    return WindowSettings(length_ns=ns(length), hop_ns=ns(length if hop is None else hop))


def lines(*spans: tuple[float, float], silence: float = 2000) -> LineSettings:
    return LineSettings(lines=tuple(Span(ns(a), ns(b)) for a, b in spans), silence_ns=ns(silence))


class Scene:
    """Pushes items and keeps what comes out; arrivals stand still where none is named."""

    def __init__(
        self, *streams: StreamDeclaration, segmentation: SegmentationSettings | None = None, cadence: float = 1000, **ms: float
    ) -> None:
        self.decided: dict[tuple[str, int], str] = {}
        self.aligner = Aligner(
            streams,
            TimelineSettings(
                segmentation=segmentation or UtteranceSettings(),
                cadence_ns=ns(cadence),
                **{f"{name}_ns": ns(value) for name, value in ms.items()},
            ),
            ledger=Ledger(self._observe),
        )
        self.now = 0.0
        self.revisions: list[Revision] = []
        self.late: list[Late] = []

    def _observe(self, stream: str, epoch: int, sequence: int, disposition: str, reason: str | None) -> None:
        assert (stream, sequence) not in self.decided, "decided twice"
        self.decided[stream, sequence] = reason or disposition

    def _keep(self, outputs: list[Any]) -> list[Given]:
        revisions = [o for o in outputs if isinstance(o, Revision)]
        self.revisions += revisions
        self.late += [o for o in outputs if isinstance(o, Late)]
        return [brief(r) for r in revisions]

    def push(self, *items: Item, arrival: float | None = None) -> list[Given]:
        self.now = self.now if arrival is None else arrival
        return [given for item in items for given in self._keep(self.aligner.push(item, ns(self.now)))]

    def bound(self, at: float, *streams: str, arrival: float | None = None) -> list[Given]:
        return self.push(*(Bound(stream=s, bound_ns=ns(at)) for s in streams), arrival=arrival)

    def end(self, at: float, *streams: str) -> list[Given]:
        return self.push(*(StreamEnd(stream=s, at_ns=ns(at)) for s in streams))

    def idle(self, stream: str, at: float = 0) -> list[Given]:
        return self.push(StreamIdle(stream=stream, at_ns=ns(at)))

    def active(self, stream: str, at: float = 0) -> list[Given]:
        return self.push(StreamActive(stream=stream, at_ns=ns(at)))

    def epoch(self, number: int, at: float, *streams: str) -> list[Given]:
        return self.push(EpochStart(streams=streams, epoch=number, at_ns=ns(at)))

    def hears(self, pattern: str, *, start: float = 0, step_ms: float = 100, epoch: int = 0) -> list[Given]:
        """One step of voice activity a character from `start`: `#` speech, `.` none, `-` masked, a digit its tenth."""
        given: list[Given] = []
        for index, character in enumerate(pattern):
            probability = {"#": 0.95, ".": 0.05, "-": 0.95}.get(character)
            probability = int(character) / 10 if probability is None else probability
            at = start + index * step_ms
            given += self.push(step(at, at + step_ms, probability, masked=character == "-", epoch=epoch))
            given += self.bound(at + step_ms, "activity")
        return given

    def advance(self, now: float) -> list[Given]:
        self.now = now
        return self._keep(self.aligner.advance(ns(now)))

    def close(self) -> list[Given]:
        return self._keep(self.aligner.close(ns(self.now)))

    @property
    def next_deadline(self) -> float | None:
        deadline_ns = self.aligner.next_deadline_ns
        return None if deadline_ns is None else deadline_ns / NS_PER_MS

    def slice(self, stream: str, revision: int = -1) -> Slice:
        return next(s for s in self.revisions[revision].slices if s.stream == stream)

    def finals(self) -> list[tuple[str, float, float, str]]:
        """Kind, start, end and reason of what has become final."""
        return [(g.kind, g.start, g.end, g.reason) for g in map(brief, self.revisions) if g.status == "final"]


def sequences(packets: tuple[Packet, ...]) -> list[int]:
    """Their numbers: in a scene a packet's start in milliseconds."""
    return [packet.sequence for packet in packets]
