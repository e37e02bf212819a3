"""Oracle of docs/timeline.md section 1: what each stream is after each item of a trace. Offline, slow, plain."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from stream.timeline.packets import Bound, EpochStart, Item, Modality, Packet, StreamActive, StreamEnd, StreamIdle

Trace = list[tuple[Item, int]]


@dataclass(frozen=True)
class Declared:
    """A declared stream, as the oracles know it."""

    name: str
    modality: Modality
    source: str | None = None


@dataclass(frozen=True)
class View:
    """One stream after one item."""

    declared: Declared
    bound: float = -math.inf
    reach: float = -math.inf
    """The bound, of the activity stream at least the end of its last step: A."""
    started: bool = False
    idle: bool = False
    """Of a derived stream: whether its source is idle."""
    ended: bool = False
    epoch: int = 0

    @property
    def waited(self) -> bool:
        return not self.idle and not self.ended

    @property
    def absence(self) -> str:
        if self.ended:
            return "ended"
        if self.idle:
            return "idle"
        return "nothing-there" if self.started else "not-started"


Views = dict[str, View]


def first_views(streams: list[Declared]) -> Views:
    """The streams before anything has come."""
    return {s.name: View(s) for s in streams}


def views_after_each(streams: list[Declared], trace: Trace) -> tuple[list[Views], list[bool]]:
    """The streams after each item, and whether the item was a data packet that was taken."""
    views, history, taken = first_views(streams), [], []
    for item, _ in trace:
        is_taken = isinstance(item, Packet) and accepts(views[item.stream], item)
        views = {name: after(view, item, is_taken, views) for name, view in views.items()}
        history.append(views)
        taken.append(is_taken)
    return history, taken


def accepts(view: View, packet: Packet) -> bool:
    """Whether a data packet passes the door."""
    return packet.start_ns >= view.bound and not view.ended and packet.epoch == view.epoch


def after(view: View, item: Item, is_taken: bool, before: Views) -> View:
    """One stream after one item."""
    name, source = view.declared.name, view.declared.source
    if isinstance(item, EpochStart):
        if (source or name) not in item.streams:
            return view
        return raised(replace(view, ended=False, idle=False, epoch=item.epoch), item.at_ns)
    of_source = item.stream == source and isinstance(item, StreamIdle | StreamActive | StreamEnd)
    if of_source and not before[source].ended:  # a source that ended is not idle
        return replace(view, idle=isinstance(item, StreamIdle))
    if item.stream != name or view.ended or (isinstance(item, Packet) and not is_taken):
        return view
    if isinstance(item, StreamIdle | StreamActive):
        return replace(view, idle=isinstance(item, StreamIdle))
    if isinstance(item, StreamEnd):
        return raised(replace(view, idle=False, started=True, ended=True), item.at_ns)
    if isinstance(item, Bound):
        return raised(replace(view, started=True), item.bound_ns)
    view = raised(replace(view, started=True), item.start_ns)
    return replace(view, reach=max(view.reach, item.end_ns)) if view.declared.modality is Modality.ACTIVITY else view


def raised(view: View, bound: float) -> View:
    """A stream after a promise."""
    return replace(view, bound=max(view.bound, bound), reach=max(view.reach, bound))


def leads(streams: list[Declared]) -> list[str]:
    """The streams that R looks at."""
    names = [s.name for s in streams if s.modality not in (Modality.TEXT, Modality.ACTIVITY)]
    return names or [s.name for s in streams if s.modality is Modality.TEXT]


def reference_bounds(streams: list[Declared], trace: Trace, history: list[Views]) -> list[float]:
    """Up to where each item, by itself, lets the reference bound R come; minus infinity where nothing is waited for."""
    bounds, before = [], first_views(streams)
    for (item, _), views in zip(trace, history, strict=True):
        waited = [{n for n in leads(streams) if views[n].waited}] if lane_end(streams, views) == math.inf else []
        if isinstance(item, StreamEnd):  # taken as a bound first, while it is still waited for
            waited.append({n for n in leads(streams) if before[n].waited})
        bounds.append(max([min(views[n].bound for n in names) for names in waited if names], default=-math.inf))
        before = views
    return bounds


def lane_end(streams: list[Declared], views: Views) -> float:
    """The largest bound of the source streams once all of them have ended, else infinity."""
    sources = [views[s.name] for s in streams if s.source is None]
    return max(v.bound for v in sources) if all(v.ended for v in sources) else math.inf
