"""Oracle of docs/timeline.md section 3 where the plan is known before: windows, lines, silence without a voice detector."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count

from oracle_streams import Declared, Trace, Views, lane_end, leads, reference_bounds

from stream.timeline.packets import EpochStart, Packet
from stream.timeline.settings import LineSettings, SegmentationSettings, WindowSettings
from stream.timeline.time import Span

Plan = Iterator[tuple[str, int, int, str]]
"""Segments to come, in order of start: kind, start, end, reason of their close."""


@dataclass(frozen=True)
class Segment:
    """A closed segment, a hole included. `closed` is the index of the item that closed it, `epoch` that of its opening."""

    kind: str
    start: int
    end: int
    reason: str
    epoch: int
    closed: int
    continues: bool = False


@dataclass(frozen=True)
class Open:
    """An open segment after an item: steps of the cadence are due up to `driver`, and reach at most up to `tip`."""

    kind: str
    start: int
    epoch: int
    driver: float
    tip: float = math.inf
    continues: bool = False


@dataclass
class Lane:
    """All closed segments, and after each item the open ones and the spans that open and future ones can claim."""

    closed: list[Segment] = field(default_factory=list)
    open: list[list[Open]] = field(default_factory=list)
    claims: list[list[Span]] = field(default_factory=list)
    over: list[bool] = field(default_factory=list)
    """Whether the lane is at its end T after the item; a restart may take it on."""


def silences(start: int, end: float, length: int) -> Plan:
    """Silence windows from `start` on, the last cut at `end`."""
    while start < end:
        stop = int(min(start + length, end))
        yield "silence", start, stop, "window" if stop == start + length else "speech"
        start = stop


def plan(settings: SegmentationSettings, base: int) -> Plan:
    """All segments from the boundary `base` on."""
    if isinstance(settings, WindowSettings):
        before = base - base % settings.hop_ns
        if before < base < before + settings.length_ns:
            yield "window", base, before + settings.length_ns, "window"
        for k in count(-(-base // settings.hop_ns)):
            yield "window", k * settings.hop_ns, k * settings.hop_ns + settings.length_ns, "window"
        return
    for line in sorted(settings.lines) if isinstance(settings, LineSettings) else ():
        start = max(line.start_ns, base)
        if start < line.end_ns:
            yield from silences(base, start, settings.silence_ns)
            yield "line", start, line.end_ns, "line"
            base = line.end_ns
    yield from silences(base, math.inf, settings.silence_ns)


def planned_lane(
    settings: SegmentationSettings, streams: list[Declared], trace: Trace, history: list[Views], cadence: int
) -> Lane:
    """The lane after each item: R walks along the plan; a restart of a reference stream, and T, begin a new plan."""
    lane, base, epoch, reached = Lane(), 0, 0, -math.inf
    drivers = {s.name for s in streams if s.source is None}.intersection(leads(streams))
    horizon = max([item.end_ns for item, _ in trace if isinstance(item, Packet)], default=0) + 1
    opened: dict[int, Open] = {}
    closed: set[int] = set()

    def close(kind: str, start: int, end: float, reason: str, i: int) -> None:
        lane.closed.append(Segment(kind, start, int(end), reason, opened[start].epoch, i))
        closed.add(start)

    for (i, (item, _)), bound in zip(enumerate(trace), reference_bounds(streams, trace, history), strict=True):
        if isinstance(item, EpochStart):
            if drivers.intersection(item.streams):
                end = int(max(reached, base))
                if isinstance(settings, WindowSettings):
                    shown = [start for start in opened.keys() - closed if reached >= start + cadence]
                    steps = [start + (reached - start) // cadence * cadence for start in shown]
                    ends = [s.end for s in lane.closed]
                    end = int(max([base, min(reached, item.at_ns), *steps, *ends]))
                for start in sorted(s for s in opened.keys() - closed if s < end):
                    close(opened[start].kind, start, end, "reconnect", i)
                if end < item.at_ns:
                    lane.closed.append(Segment("hole", end, item.at_ns, "reconnect", item.epoch, i))
                base, opened, closed = max(end, item.at_ns), {}, set()
            epoch = item.epoch
        end_of_all = lane_end(streams, history[i])
        over = end_of_all < math.inf
        if not over:
            reached = max(reached, bound)
        elif not (i and lane.over[i - 1]):  # from here on R is T
            reached = max([end_of_all, reached, bound, base] + [s.end for s in lane.closed])
        for kind, start, end, reason in plan(settings, base):
            if start >= reached:
                break
            opened.setdefault(start, Open(kind, start, epoch, 0))
            if start not in closed and (end <= reached or over):
                close(kind, start, min(end, reached), reason if end <= reached else "end", i)
        if over:
            base, opened, closed = int(reached), {}, set()
        lane.open.append([replace(o, driver=reached) for o in opened.values() if o.start not in closed])
        ahead = []
        for _, start, end, _ in plan(settings, base) if not over else ():
            if start >= horizon:
                break
            if start not in closed:
                ahead.append(Span(start, end))
        lane.claims.append(ahead)
        lane.over.append(over)
    return lane
