"""Oracle of docs/timeline.md sections 2, 5 and 6: published revisions and deadlines."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import oracle_membership as membership
from oracle_segmentation import Segment, planned_lane
from oracle_streams import Declared, Trace, Views, first_views, views_after_each
from oracle_utterances import utterance_lane

from stream.timeline.packets import Modality, StreamEnd
from stream.timeline.settings import TimelineSettings, UtteranceSettings

Moment = tuple[int, int, int]
"""When something happens: (i, 0, time) at a deadline that fires before item i, (i, 1, time) by item i."""
NEVER: Moment = (10**9, 0, 10**18)


@dataclass(frozen=True)
class Published:
    """One expected revision; `slices` hold (stream, state, absence, coverage, sequence numbers)."""

    source_epoch: int
    kind: str
    start_ns: int
    end_ns: int
    continues: bool
    number: int
    status: str
    reason: str
    decided_ns: int
    slices: tuple[tuple[str, str, str | None, float, tuple[int, ...]], ...] = ()


@dataclass(frozen=True)
class Fate:
    """When a closed segment became ready, final and frozen."""

    segment: Segment
    ready: Moment
    final: Moment
    frozen: Moment

    @property
    def amended(self) -> bool:
        return self.frozen != self.final


class Expected:
    """What an aligner gives for a whole trace, `close` at the end included (its ends are items of their own here)."""

    def __init__(self, streams: list[Declared], settings: TimelineSettings, trace: Trace, close_ns: int) -> None:
        self.streams, self.settings = streams, settings
        still = views_after_each(streams, trace)[0][-1] if trace else first_views(streams)
        ends = [(StreamEnd(stream=n, at_ns=v.bound), close_ns) for n, v in still.items() if not v.ended]
        self.trace = trace + ends
        self.arrivals = [arrival for _, arrival in self.trace]
        self.history, self.taken = views_after_each(streams, self.trace)
        has_activity = any(s.modality is Modality.ACTIVITY for s in streams)
        policy = settings.segmentation
        if isinstance(policy, UtteranceSettings) and has_activity:
            self.lane = utterance_lane(policy, streams, self.trace, self.history)
        else:
            self.lane = planned_lane(policy, streams, self.trace, self.history, settings.cadence_ns)
        self.revivals = [i for i in range(1, len(self.trace)) if self.lane.over[i - 1] and not self.lane.over[i]]
        self.fates = [self.fate(s) for s in self.lane.closed if s.kind != "hole"]
        self.provisionals = list(self.due_provisionals())

    def late_text(self, views: Views, end: int, only_waited: bool) -> bool:
        """Whether some text stream has neither ended nor come to `end`."""
        texts = [v for v in views.values() if v.declared.modality is Modality.TEXT and not v.ended and v.bound < end]
        return any(v.waited for v in texts) if only_waited else bool(texts)

    def first(self, since: int, holds: Callable[[Views], bool]) -> Moment:
        """The first item from `since` on after which `holds` holds of the streams."""
        i = next((i for i in range(since, len(self.trace)) if holds(self.history[i])), None)
        return NEVER if i is None else (i, 1, self.arrivals[i])

    def deadline(self, time: int) -> Moment:
        """The moment of a deadline: before the first item that arrives then or later."""
        return (bisect.bisect_left(self.arrivals, time), 0, time)

    def taken_by(self, moment: Moment) -> int:
        """How many items had been taken at a moment."""
        return moment[0] + moment[1]

    def views(self, moment: Moment) -> Views:
        """The streams at a moment."""
        return self.history[self.taken_by(moment) - 1]

    def fate(self, segment: Segment) -> Fate:
        end, at_once = segment.end, segment.reason == "reconnect"
        ready = self.first(
            segment.closed,
            lambda views: (
                at_once or all(v.bound >= end for v in views.values() if v.waited and v.declared.modality is not Modality.TEXT)
            ),
        )
        words = self.first(ready[0], lambda views: at_once or not self.late_text(views, end, only_waited=True))
        final = min(words, self.deadline(ready[2] + self.settings.text_lateness_ns))
        if not self.late_text(self.views(final), end, only_waited=False):
            return Fate(segment, ready, final, final)
        words = self.first(self.taken_by(final), lambda views: not self.late_text(views, end, only_waited=False))
        return Fate(segment, ready, final, min(words, self.deadline(final[2] + self.settings.amend_ns)))

    def holds(self, i: int, start: float, end: float) -> bool:
        """Whether packet i belongs to [start, end) by its time."""
        packet = self.trace[i][0]
        return membership.belongs(self.history[i][packet.stream].declared.modality, packet, start, end)

    def claimed(self, i: int, now: int) -> bool:
        """Whether an open or future segment, as seen after item `now`, can claim packet i."""
        return any(self.holds(i, *span) for span in self.lane.claims[now]) and not self.let_go(i, now)

    def closed_ones(self, i: int, now: int) -> list[Fate]:
        """The segments of packet i that are closed after item `now`."""
        return [f for f in self.fates if f.segment.closed <= now and self.is_member(i, f.segment)]

    def is_member(self, i: int, s: Segment) -> bool:
        """Whether packet i belongs to a segment: by its time, unless it was given up before the segment began."""
        return self.holds(i, s.start, s.end) and not self.let_go(i, s.closed)

    def let_go(self, i: int, now: int) -> bool:
        """Whether packet i was unclaimed at the lane's end, which a restart until item `now` took further."""
        return any(i < revival <= now and not self.closed_ones(i, revival - 1) for revival in self.revivals)

    def due_provisionals(self) -> Iterator[tuple[Moment, Published]]:
        """Each item makes the newest step due of each open segment, where there is a new one."""
        newest: dict[tuple[str, int], float] = {}
        for i, opened in enumerate(self.lane.open):
            for o in opened:
                step = (o.driver - o.start) // self.settings.cadence_ns if o.driver > o.start else 0
                if step > newest.get((o.kind, o.start), 0):
                    newest[o.kind, o.start] = step
                    end = int(min(o.start + step * self.settings.cadence_ns, o.tip))
                    provisional = Segment(o.kind, o.start, end, "cadence", o.epoch, i, o.continues)
                    yield self.revision((i, 1, self.arrivals[i]), provisional, int(step), "provisional")

    def revision(self, moment: Moment, s: Segment, number: int, status: str) -> tuple[Moment, Published]:
        views, slices = self.views(moment), []
        for stream in self.streams if s.kind != "hole" else ():
            packets = [i for i in range(self.taken_by(moment)) if self.taken[i] and self.trace[i][0].stream == stream.name]
            members = [self.trace[i][0] for i in packets if self.is_member(i, s)]
            share = membership.coverage(stream.modality, members, s.start, s.end, self.settings.max_gap_ns)
            state, absence = membership.slice_state(views[stream.name], members, s.end, status, s.reason)
            slices.append((stream.name, state, absence, float(share), tuple(m.sequence for m in members)))
        return moment, Published(
            s.epoch, s.kind, s.start, s.end, s.continues, number, status, s.reason, moment[2], tuple(slices)
        )

    def revisions(self) -> list[tuple[Moment, Published]]:
        """All revisions, in the order in which they are given out."""
        found = [((m, 1, r.start_ns, 0), (m, r)) for m, r in self.provisionals]
        for hole in [s for s in self.lane.closed if s.kind == "hole"]:
            moment = (hole.closed, 1, self.arrivals[hole.closed])
            found.append(((moment, 2, hole.end, hole.start), self.revision(moment, hole, 0, "final")))
        for fate in self.fates:
            s = fate.segment
            given = [r.number for _, r in self.provisionals if r.start_ns == s.start]
            number = 1 + max([0, -(-(s.end - s.start) // self.settings.cadence_ns) - 1, *given])
            order = (2, s.end, s.start) if fate.final[1] else (2, s.start, 0)
            found.append(((fate.final, *order), self.revision(fate.final, s, number, "final")))
            if fate.amended:
                words = replace(s, reason="words" if fate.frozen[1] else "time-out")
                order = (3, s.start, 0) if fate.frozen[1] else (2, s.start, 0)
                found.append(((fate.frozen, *order), self.revision(fate.frozen, words, number + 1, "amended")))
        return [revision for _, revision in sorted(found, key=lambda pair: pair[0])]

    def next_deadline(self, i: int) -> int | None:
        """The earliest open deadline after item i."""
        now: Moment = (i, 1, self.arrivals[i])
        lateness, amend = self.settings.text_lateness_ns, self.settings.amend_ns
        open_ones = [f.ready[2] + lateness for f in self.fates if f.ready <= now < f.final]
        open_ones += [f.final[2] + amend for f in self.fates if f.final <= now < f.frozen]
        return min(open_ones, default=None)
