"""Oracle of docs/timeline.md section 12: the windows of the people whom a stream of faces shows, from all of it at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from oracle_membership import coverage

from stream.timeline.packets import Bound, EpochStart, Faces, Item, Modality, StreamEnd
from stream.timeline.settings import TimelineSettings


@dataclass
class Visit:
    """Somebody from where they were first seen to where they had gone: the pictures that show them, and how it ended."""

    track: int
    pictures: list[Faces] = field(default_factory=list)
    end: int = 0
    reason: str = ""

    @property
    def last(self) -> int:
        return self.pictures[-1].start_ns


def visits(items: list[tuple[Item, bool]], name: str, source: str, settings: TimelineSettings) -> list[Visit]:
    """All visits of a stream, out of items and whether each was taken; at the end of the items the stream ends."""
    gap, gone = settings.max_gap_ns, settings.listener_gone_ns
    done: list[Visit] = []
    here: dict[int, Visit] = {}
    bound, ended = -(1 << 62), False

    def leave(who: list[Visit], limit: int | None, reason: str) -> None:
        for visit in who:
            end = visit.last + gap if limit is None else min(visit.last + gap, limit)
            visit.end, visit.reason = max(end, visit.last + 1), reason
            done.append(here.pop(visit.track))

    for item, taken in items:
        if isinstance(item, EpochStart) and source in item.streams:
            leave(list(here.values()), item.at_ns, "reconnect")
            bound, ended = max(bound, item.at_ns), False
            continue
        if getattr(item, "stream", None) != name or ended or not taken:
            continue
        if isinstance(item, Faces | Bound | StreamEnd):
            bound = max(bound, getattr(item, "bound_ns", None) or getattr(item, "at_ns", None) or getattr(item, "start_ns", 0))
        leave([v for v in here.values() if bound - v.last >= gone], None, "end")
        if isinstance(item, Faces):
            for face in item.faces:
                here.setdefault(face.track, Visit(face.track)).pictures.append(item)
        if isinstance(item, StreamEnd):
            leave(list(here.values()), bound, "end")
            ended = True
    leave(list(here.values()), bound, "end")
    return done


Window = tuple[int, str, int, int, str, tuple[int, ...], float]
"""Source epoch, lane, start, end, reason, pictures by sequence, coverage."""


def windows(found: list[Visit], speakers: list[tuple[int, int, int]], settings: TimelineSettings) -> list[Window]:
    """The windows of visits, but for those that overlap a span (start, end, track) in which their person speaks."""
    given: list[Window] = []
    for visit in found:
        start, length = visit.pictures[0].start_ns, settings.listener_ns
        for a in range(start, visit.end, length):
            z = min(a + length, visit.end)
            if any(track == visit.track and max(s, a) < min(e, z) for s, e, track in speakers):
                continue
            inside = [p for p in visit.pictures if a <= p.start_ns < z]
            share = coverage(Modality.VIDEO, list(inside), a, z, settings.max_gap_ns)
            reason = visit.reason if z == visit.end else "window"
            sequences = tuple(p.sequence for p in inside)
            given.append((visit.pictures[0].epoch, f"face:{visit.track}", a, z, reason, sequences, float(share)))
    return sorted(given)
