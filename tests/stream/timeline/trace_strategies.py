"""Hypothesis strategies: sessions with small settings, and traces in which much happens within few items."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from oracle_streams import Declared, Trace

from stream.timeline.packets import (
    AudioChunk,
    Bound,
    EpochStart,
    Modality,
    SpeechActivity,
    StreamActive,
    StreamEnd,
    StreamIdle,
    VideoFrame,
    Word,
)
from stream.timeline.settings import LineSettings, SegmentationSettings, TimelineSettings, UtteranceSettings, WindowSettings
from stream.timeline.time import ACTIVITY_STEP_NS, NS_PER_MS, NS_PER_SAMPLE, NS_PER_SECOND, Span

STEP = ACTIVITY_STEP_NS
HALF = STEP // 2
ARRIVAL = 10 * NS_PER_MS
PROBABILITIES = (0.0, 0.9, 0.2, 0.9, 0.5, 0.7, 0.4, 0.95)
SPEECH, PAUSE = (3, 5, 7, 4, 3), (2, 0, 6, 1, 2)
"""Flavours of consecutive steps: indices of PROBABILITIES; 1 is a step inside a gap."""

Action = tuple[str, int, int, int, int]
"""What, which stream, two small numbers, and the wait before it in units of ARRIVAL."""


@dataclass(frozen=True, repr=False)
class Scenario:
    """One session: its streams, settings, what comes at its door, and when it is closed."""

    streams: list[Declared]
    settings: TimelineSettings
    trace: Trace
    close_ns: int

    def __repr__(self) -> str:
        """One item a line, times in milliseconds, without samples and pictures."""
        lines = [" ".join(f"{s.name}<{s.source}" if s.source else s.name for s in self.streams), str(self.settings)]
        for i, (item, arrival_ns) in enumerate(self.trace):
            fields = {name: getattr(item, name) for name in item.__struct_fields__ if name not in ("samples", "image")}
            times = {name: value / NS_PER_MS if name.endswith("_ns") else value for name, value in fields.items()}
            lines.append(f"{i} at {arrival_ns / NS_PER_MS}: {type(item).__name__} {times}")
        return "\n".join([*lines, f"close at {self.close_ns / NS_PER_MS}"])


@dataclass
class TraceBuilder:
    """Turns any list of actions into a trace that keeps each stream's order; refused packets are made on purpose."""

    streams: list[Declared]
    now: int = 0
    epoch: int = 0
    trace: Trace = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cursor = {s.name: 0 for s in self.streams}
        self.sequence = dict.fromkeys(self.cursor, 0)
        self.epochs = dict.fromkeys(self.cursor, 0)
        self.ended = dict.fromkeys(self.cursor, False)
        self.resting = dict.fromkeys(self.cursor, False)

    def put(self, item: Any) -> None:
        self.trace.append((item, self.now))

    def packet(self, stream: Declared, start: int, size: int, flavour: int, epoch: int | None = None) -> None:
        """A data packet; `flavour` chooses the probability of speech, 1 makes a gap of audio and of activity."""
        name = stream.name
        fields = {"stream": name, "epoch": self.epochs[name] if epoch is None else epoch, "start_ns": start}
        fields["sequence"] = self.sequence[name]
        self.sequence[name] += 1
        if stream.modality is Modality.VIDEO:
            self.put(VideoFrame(**fields, end_ns=start, image=Blank()))
        elif stream.modality is Modality.AUDIO:
            count = size * HALF // NS_PER_SAMPLE
            chunk = {"end_ns": start + count * NS_PER_SAMPLE, "samples": np.zeros(count, np.int16)}
            self.put(AudioChunk(**fields, **chunk, first_sample=start // NS_PER_SAMPLE, filled=flavour == 1))
        elif stream.modality is Modality.ACTIVITY:
            probability = PROBABILITIES[flavour]
            self.put(SpeechActivity(**fields, end_ns=start + STEP, probability=probability, masked=flavour == 1))
        else:
            self.put(Word(**fields, end_ns=start + size * STEP - size % 2, text="so"))
        self.cursor[name] = max(self.cursor[name], start + (STEP if stream.modality is Modality.ACTIVITY else 0))

    def scene(self, length: int, speech: bool, wait: int, together: bool) -> None:
        """Steps in which everything but text goes on, with speech or without; streams that lag may catch up first."""
        live = [s for s in self.streams if s.modality is not Modality.TEXT and not (self.ended[s.name] or self.rests(s))]
        front = max([self.cursor[s.name] for s in live], default=0)
        for step in range(length):
            for stream in live:
                start = max(self.cursor[stream.name], front if together else 0)
                if stream.modality is Modality.AUDIO:
                    self.packet(stream, start, 2, 0)
                    self.cursor[stream.name] = start + STEP
                elif stream.modality is Modality.ACTIVITY:
                    self.packet(stream, start, 1, (SPEECH if speech else PAUSE)[step % 5])
                elif step % 2 == 0:
                    self.packet(stream, start + HALF, 1, 0)
                    self.cursor[stream.name] = start + 2 * STEP
                self.now += wait * ARRIVAL // 4

    def rests(self, stream: Declared) -> bool:
        return self.resting[stream.source or stream.name]

    def act(self, action: Action) -> None:
        """One action, whatever its numbers."""
        what, who, delta, size, wait = action
        stream = self.streams[who % len(self.streams)]
        source = stream.source or stream.name
        name = stream.name
        self.now += wait * ARRIVAL
        if what == "speech":
            self.scene(2 + size, True, wait, together=delta > 1)
        elif what == "pause":
            self.scene(2 + size, False, wait, together=delta > 1)
        elif what == "packet":
            self.packet(stream, self.cursor[name] + (delta - (self.cursor[name] == 0)) * HALF, size % 4, size)
        elif what == "word":
            for text in (s for s in self.streams if s.modality is Modality.TEXT):
                self.packet(text, self.cursor[text.name] + delta * STEP, size % 4, 0)
        elif what == "bound":
            self.put(Bound(stream=name, bound_ns=self.cursor[name] + (delta - 2) * STEP))
            self.cursor[name] += 0 if self.ended[name] else max(0, delta - 2) * STEP
        elif what == "catch-up":
            self.cursor = {n: c if self.ended[n] else max(self.cursor.values()) for n, c in self.cursor.items()}
            for n, cursor in self.cursor.items():
                self.put(Bound(stream=n, bound_ns=cursor))
        elif what == "idle":
            self.rest(source)
        elif what == "break-off":
            self.scene(2 + size, True, wait, together=True)
            self.rest("audio" if "audio" in self.cursor else source)
        elif what == "active":
            self.wake(source)
        elif what == "come-back":
            self.rest(source)
            self.scene(2 + size, True, wait, together=True)
            self.wake(source)
            self.restart(who, delta, size)
        elif what == "refused":
            behind = size % 2 == 0
            start = self.cursor[name] - (1 + delta) * HALF if behind else self.cursor[name]
            self.packet(stream, start, size % 4, size, epoch=None if behind else self.epochs[name] + 1 + size)
        elif what == "end":
            self.end(name, delta)
        elif what == "end-all":
            for each in self.cursor:
                self.end(each, delta)
        elif what == "epoch":
            self.scene(size // 2, True, wait, together=True)
            self.restart(who, delta, size)

    def rest(self, source: str) -> None:
        """A source goes idle."""
        self.put(StreamIdle(stream=source, at_ns=self.cursor[source]))
        self.resting[source] = True

    def wake(self, source: str) -> None:
        """A source is active again, where it had been: behind those that have gone on."""
        self.put(StreamActive(stream=source, at_ns=self.cursor[source]))
        self.resting[source] = False

    def end(self, name: str, delta: int) -> None:
        """A stream ends, a little behind or ahead of where it is."""
        self.put(StreamEnd(stream=name, at_ns=self.cursor[name] + (delta - 2) * HALF))
        self.ended[name], self.resting[name] = True, False

    def restart(self, who: int, delta: int, size: int) -> None:
        """Some or all sources begin a new source epoch, mostly ahead of everything, at times behind."""
        sources = [s.name for s in self.streams if s.source is None]
        names = sources if size % 2 else sources[who % len(sources) :]
        self.epoch += 1 + delta % 2
        at = max(self.cursor[n] for n in names) + (delta - 1) * STEP
        self.put(EpochStart(streams=tuple(names), epoch=self.epoch, at_ns=at))
        for stream in self.streams:
            if (stream.source or stream.name) in names:
                self.epochs[stream.name] = self.epoch
                self.ended[stream.name] = self.resting[stream.name] = False
                self.cursor[stream.name] = max(self.cursor[stream.name], at)


class Blank:
    """A picture of nothing."""

    width = height = 1

    def rgb(self, width: int, height: int) -> np.ndarray:
        return np.zeros((height, width, 3), np.uint8)

    def grey(self) -> np.ndarray:
        return np.zeros((self.height, self.width), np.uint8)


@cache
def actions() -> st.SearchStrategy[Action]:
    """One action; what brings the trace forward is drawn more often than what disturbs it."""
    weights = {"speech": 6, "pause": 6, "packet": 3, "word": 3, "catch-up": 2, "bound": 2, "refused": 2}
    weights |= {"idle": 1, "break-off": 3, "active": 2, "come-back": 1, "epoch": 2, "end": 1, "end-all": 1}
    kinds = [kind for kind, weight in weights.items() for _ in range(weight)]
    small = st.integers(0, 7)
    return st.tuples(st.sampled_from(kinds), small, st.integers(0, 5), small, st.sampled_from([0, 0, 1, 2, 8]))


@st.composite
def declarations(draw: st.DrawFn) -> list[Declared]:
    """One stream at least, in any order; activity derives from audio where that is declared, faces from video."""
    sets = [["audio", "activity"], ["video", "audio", "activity"], ["audio", "activity", "text"], ["video", "activity"]]
    sets += [["video", "audio", "activity", "text"]] * 8 + [["video"], ["text"], ["video", "text"], ["video", "audio"]]
    sets += [["video", "faces", "audio", "activity", "text", "captions"], ["faces", "video", "text"], ["audio", "text"]]
    names = draw(st.permutations(draw(st.sampled_from(sets))))
    modalities = {"captions": Modality.TEXT, "faces": Modality.VIDEO}
    sources = {"activity": "audio" if "audio" in names else None, "faces": "video"}
    return [Declared(n, modalities.get(n) or Modality(n), sources.get(n)) for n in names]


def spans(gap: st.SearchStrategy[int], length: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[Span, ...]]:
    """Lines in any order that may overlap."""
    pairs = st.lists(st.tuples(gap, length), max_size=6)
    return pairs.map(lambda p: tuple(Span(start * HALF, (start + size) * HALF) for start, size in p))


def policies() -> st.SearchStrategy[SegmentationSettings]:
    """Each policy with lengths of a few steps."""

    def steps(*counts: float) -> st.SearchStrategy[int]:
        return st.sampled_from([round(count * STEP) for count in counts])

    utterances = st.builds(
        lambda cut, **others: UtteranceSettings(longest_ns=cut[0] * STEP, cut_search_ns=cut[1] * STEP, **others),
        cut=st.sampled_from([(5, 2), (5, 3), (8, 4), (14, 4), (14, 12)]),
        pad_ns=steps(0, 0.5, 1, 1.6),
        shortest_ns=steps(1, 2, 3),
        hang_over_ns=steps(2, 3, 4.5),
        silence_ns=steps(3, 5, 8.5),
    )
    windows = st.builds(WindowSettings, length_ns=steps(2, 4, 7.25), hop_ns=steps(2, 4, 5, 9))
    lines = st.builds(LineSettings, lines=spans(st.integers(0, 60), st.integers(1, 16)), silence_ns=steps(3, 5, 8.5))
    return st.one_of(utterances, utterances, utterances, windows, lines)


@st.composite
def timeline_settings(draw: st.DrawFn) -> TimelineSettings:
    """Small settings; the bound on retention is out of reach."""
    return TimelineSettings(
        segmentation=draw(policies()),
        cadence_ns=draw(st.sampled_from([2, 3, 5])) * STEP,
        text_lateness_ns=draw(st.sampled_from([2, 5, 20])) * ARRIVAL,
        amend_ns=draw(st.sampled_from([3, 10, 40])) * ARRIVAL,
        max_gap_ns=draw(st.sampled_from([HALF, 2 * STEP])),
        lookback_ns=3600 * NS_PER_SECOND,
    )


@st.composite
def scenarios(draw: st.DrawFn, most: int = 26) -> Scenario:
    """A session with everything that may come to its door."""
    streams = draw(declarations())
    builder = TraceBuilder(streams)
    for action in draw(st.lists(actions(), min_size=10, max_size=most)):
        builder.act(action)
    close_ns = builder.now + draw(st.integers(0, 60)) * ARRIVAL
    return Scenario(streams, draw(timeline_settings()), builder.trace, close_ns)
