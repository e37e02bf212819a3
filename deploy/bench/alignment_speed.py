"""How many events a second the aligner takes, on a simulated trace with everything on: late words, idleness, amendments."""

from __future__ import annotations

import heapq
import random
import statistics
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from itertools import count, islice
from typing import NamedTuple

import msgspec
import numpy as np

from stream.timeline.alignment import Aligner
from stream.timeline.packets import (
    AudioChunk,
    Bound,
    Faces,
    Item,
    Modality,
    SpeechActivity,
    StreamActive,
    StreamIdle,
    Word,
    activity_end_ns,
)
from stream.timeline.segments import Revision
from stream.timeline.time import ACTIVITY_STEP_NS, NS_PER_MS, NS_PER_SAMPLE, NS_PER_SECOND
from stream.timeline.watermark import StreamDeclaration

STREAMS = (
    StreamDeclaration(name="video", modality=Modality.VIDEO),
    StreamDeclaration(name="audio", modality=Modality.AUDIO),
    StreamDeclaration(name="activity", modality=Modality.ACTIVITY, source="audio"),
    StreamDeclaration(name="words", modality=Modality.TEXT),
)
_PIECE = 4096
_FRAME_NS = NS_PER_SECOND // 30
_CHUNK_NS = NS_PER_SECOND // 50
_WORD_NS = NS_PER_SECOND // 3
_IDLE_EVERY_NS = 60 * NS_PER_SECOND
_IDLE_FOR_NS = 4 * NS_PER_SECOND

Event = tuple[int, int, Item]
"""Arrival, place of the stream in the order of declaration, item."""


class AlignmentSpeed(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured. `seconds` are CPU seconds inside the aligner, without the making of the trace: the median run."""

    events: int
    media_seconds: float
    seconds: float
    events_per_second: float
    peak_bytes: int
    """Most memory allocated at one time by a run of its own, packets included."""
    revisions: dict[str, int]
    """How many were given out, by status."""


class AlignmentScaling(msgspec.Struct, frozen=True, kw_only=True):
    """A trace, and one ten times as long."""

    trace: AlignmentSpeed
    ten_times: AlignmentSpeed
    times_as_long: float
    """CPU seconds of the long one over those of the short one that ran before it, the median."""


class _Run(NamedTuple):
    seconds: float
    arrival_ns: int
    revisions: Counter[str]


def measure(events: int, seed: int = 0) -> AlignmentSpeed:
    """Feeds `events` items of the seeded trace to an aligner, timed; then to another one, its memory traced."""
    return _speed(events, seed, [_run(events, seed)])


def measure_scaling(events: int, runs: int, seed: int = 0) -> AlignmentScaling:
    """Measures `events` items and a tenth of them, in turn, `runs` times."""
    pairs = [(_run(events // 10, seed), _run(events, seed)) for _ in range(runs)]
    small = _speed(events // 10, seed, [pair[0] for pair in pairs])
    large = _speed(events, seed, [pair[1] for pair in pairs])
    ratios = [long.seconds / short.seconds for short, long in pairs]
    return AlignmentScaling(trace=small, ten_times=large, times_as_long=round(statistics.median(ratios), 2))


def _speed(events: int, seed: int, runs: list[_Run]) -> AlignmentSpeed:
    seconds = statistics.median(run.seconds for run in runs)
    return AlignmentSpeed(
        events=events,
        media_seconds=round(runs[0].arrival_ns / NS_PER_SECOND, 1),
        seconds=round(seconds, 3),
        events_per_second=round(events / seconds),
        peak_bytes=_peak_bytes(events, seed),
        revisions=dict(runs[0].revisions),
    )


def _run(events: int, seed: int) -> _Run:
    revisions: Counter[str] = Counter()
    aligner, seconds, arrival_ns = Aligner(STREAMS), 0.0, 0
    # The trace is made piece by piece outside of the timing: held whole, it would measure the garbage collector.
    for piece in _pieces(events, seed):
        begun = time.thread_time()
        for arrival_ns, _, item in piece:
            for output in aligner.push(item, arrival_ns):
                if isinstance(output, Revision):
                    revisions[output.status] += 1
        seconds += time.thread_time() - begun
    aligner.ledger.summary()
    return _Run(seconds, arrival_ns, revisions)


def simulated_trace(seed: int) -> Iterator[Event]:
    """An endless live session in order of arrival: faces, audio, voice activity with bounds, words that come late.

    People speak in turns of one to twenty seconds; every minute the video is idle for four seconds.
    """
    spoken = _SpokenSpans(random.Random(seed))
    return heapq.merge(
        _faces(random.Random(seed + 1)),
        _audio(),
        _activity(random.Random(seed + 2), spoken),
        _words(random.Random(seed + 3)),
        key=lambda event: event[:2],
    )


class _SpokenSpans:
    """Whether somebody speaks at an instant; asked in order of time."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._speaking = False
        self._until_ns = 0

    def at(self, instant_ns: int) -> bool:
        while instant_ns >= self._until_ns:
            self._speaking = not self._speaking
            longest = 20 if self._speaking else 6
            self._until_ns += round(self._chance.uniform(0.5, longest) * NS_PER_SECOND)
        return self._speaking


def _faces(chance: random.Random) -> Iterator[Event]:
    idle = False
    for index in count():
        start_ns = index * _FRAME_NS
        arrival_ns = start_ns + 60 * NS_PER_MS
        idles = start_ns % _IDLE_EVERY_NS > _IDLE_EVERY_NS - _IDLE_FOR_NS
        if idles != idle:
            idle = idles
            control = StreamIdle if idle else StreamActive
            yield arrival_ns, 0, control(stream="video", at_ns=start_ns)
        if not idle:
            faces = Faces(stream="video", sequence=index, start_ns=start_ns, end_ns=start_ns, faces=())
            yield arrival_ns + chance.randrange(10 * NS_PER_MS), 0, faces


def _audio() -> Iterator[Event]:
    samples = np.zeros(_CHUNK_NS // NS_PER_SAMPLE, np.int16)
    for index in count():
        start_ns, end_ns = index * _CHUNK_NS, (index + 1) * _CHUNK_NS
        chunk = AudioChunk(
            stream="audio",
            sequence=index,
            start_ns=start_ns,
            end_ns=end_ns,
            samples=samples,
            first_sample=index * len(samples),
        )
        yield end_ns + 5 * NS_PER_MS, 1, chunk


def _activity(chance: random.Random, spoken: _SpokenSpans) -> Iterator[Event]:
    for index in count():
        start_ns = index * ACTIVITY_STEP_NS
        end_ns = activity_end_ns(start_ns)
        probability = chance.uniform(0.4, 1.0) if spoken.at(start_ns) else chance.uniform(0.0, 0.4)
        step = SpeechActivity(stream="activity", sequence=index, start_ns=start_ns, end_ns=end_ns, probability=probability)
        arrival_ns = end_ns + 20 * NS_PER_MS
        yield arrival_ns, 2, step
        yield arrival_ns, 2, Bound(stream="activity", bound_ns=end_ns)


def _words(chance: random.Random) -> Iterator[Event]:
    """Most words come within two seconds; every twentieth holds those after it up for as long as six."""
    arrival_ns = 0
    for index in count():
        start_ns = index * _WORD_NS
        end_ns = start_ns + chance.randrange(1, _WORD_NS)
        delay_ns = round(chance.uniform(0.3, 6.0 if index % 20 == 0 else 2.0) * NS_PER_SECOND)
        arrival_ns = max(arrival_ns, end_ns + delay_ns)
        yield arrival_ns, 3, Word(stream="words", sequence=index, start_ns=start_ns, end_ns=end_ns, text="word")


def _pieces(events: int, seed: int) -> Iterator[list[Event]]:
    trace = islice(simulated_trace(seed), events)
    while piece := list(islice(trace, _PIECE)):
        yield piece


def _peak_bytes(events: int, seed: int) -> int:
    aligner = Aligner(STREAMS)
    tracemalloc.start()
    try:
        for arrival_ns, _, item in islice(simulated_trace(seed), events):
            aligner.push(item, arrival_ns)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
