"""Lanes: rows of segments over the timeline. What the policies share; each policy decides boundaries in a file of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection

from stream.timeline.packets import SpeechActivity
from stream.timeline.segments import Reason, SegmentKind
from stream.timeline.time import Span
from stream.timeline.watermark import FOREVER_NS, Watermarks


class Segment:
    """One segment from its opening on; `end_ns` and `reason` hold from its close.

    `number` is the newest revision number given out, `shown_ns` the end of its newest provisional; `is_final` holds from
    the first final revision on, `is_frozen` from an amendment on.
    """

    __slots__ = ("continues", "end_ns", "epoch", "is_final", "is_frozen", "kind", "number", "reason", "shown_ns", "start_ns")

    def __init__(self, epoch: int, kind: SegmentKind, start_ns: int, *, continues: bool = False) -> None:
        self.epoch = epoch
        self.kind: SegmentKind = kind
        self.start_ns = start_ns
        self.continues = continues
        self.end_ns = FOREVER_NS
        self.reason: Reason = "cadence"
        self.number = 0
        self.shown_ns = start_ns
        self.is_final = False
        self.is_frozen = False


class Lane(ABC):
    """Opens and closes segments as the marks move; knows which spans its segments claim, now and ever.

    Segments that have closed gather in `closed`, in order, until they are taken. Between two cuts lies an *era*: the
    segments of `eras` (past) and those since the last cut never reach beyond theirs.
    """

    heeds_activity = False
    """Whether a declared activity stream drives the boundaries."""

    def __init__(self) -> None:
        self.epoch = 0
        self.open: deque[Segment] = deque()
        self.closed: list[Segment] = []
        self.boundary_ns = 0
        """Where the earliest segment that has not closed begins; before it nothing will change any more."""
        self.eras: list[Span] = []
        self._era_ns = 0
        self.ended = False

    @abstractmethod
    def advance(self, marks: Watermarks) -> None:
        """Opens and closes what the marks decide."""

    def hear(self, step: SpeechActivity) -> None:  # noqa: B027 - a lane that heeds no activity is deaf
        """Takes a step of voice activity, once its start has been taken as a bound."""

    @property
    @abstractmethod
    def pace_ns(self) -> int:
        """The mark that the cadence of the open segments is measured against."""

    @property
    def provisional_end_ns(self) -> int:
        """What no provisional reaches beyond."""
        return FOREVER_NS

    @abstractmethod
    def claims(self, start_ns: int, end_ns: int) -> bool:
        """Whether a segment that is open or to come overlaps [start_ns, end_ns)."""

    @abstractmethod
    def claimed(self, start_ns: int, end_ns: int) -> bool:
        """Whether a segment that has closed overlaps [start_ns, end_ns)."""

    def restart(self, at_ns: int, epoch: int, marks: Watermarks) -> None:
        """Cuts the lane where its driver stood; a hole reaches from there to `at_ns`, where `epoch` begins."""
        end_ns = self._cut(at_ns, marks)
        self.epoch = epoch
        if end_ns < at_ns:
            hole = Segment(epoch, "hole", end_ns)
            hole.end_ns, hole.reason = at_ns, "reconnect"
            self.closed.append(hole)
        self._new_era(end_ns, max(end_ns, at_ns))

    @abstractmethod
    def _cut(self, at_ns: int, marks: Watermarks) -> int:
        """Closes all that is open with reason `reconnect`, as far as the driver stood; that instant. `at_ns`: what follows."""

    def _settle_end(self, ended: bool, end_ns: int) -> None:
        """Cuts the lane at its end, each time that it comes to one."""
        if ended and not self.ended:
            while self.open:
                self._close(end_ns, "end")
            self._new_era(end_ns, end_ns)
        self.ended = ended

    def _new_era(self, end_ns: int, start_ns: int) -> None:
        self.eras.append(Span(self._era_ns, end_ns))
        self._era_ns = self.boundary_ns = start_ns

    def _close(self, end_ns: int, reason: Reason) -> None:
        segment = self.open.popleft()
        segment.end_ns, segment.reason = end_ns, reason
        self.closed.append(segment)


class Tiling(Lane):
    """A lane whose segments tile the timeline: at most one is open, and the next begins where the last one ended."""

    def _begin(self, kind: SegmentKind, *, continues: bool = False) -> Segment:
        if not self.open:
            self.open.append(Segment(self.epoch, kind, self.boundary_ns, continues=continues))
        return self.open[0]

    def _close(self, end_ns: int, reason: Reason) -> None:
        super()._close(end_ns, reason)
        self.boundary_ns = end_ns

    def claims(self, start_ns: int, end_ns: int) -> bool:
        """Whether a segment that is open or to come overlaps [start_ns, end_ns)."""
        return not self.ended and self.boundary_ns < end_ns and start_ns < end_ns

    def claimed(self, start_ns: int, end_ns: int) -> bool:
        """Whether a segment that has closed overlaps [start_ns, end_ns)."""
        eras: Collection[Span] = (*self.eras, Span(self._era_ns, self.boundary_ns))
        return any(max(start_ns, era.start_ns) < min(end_ns, era.end_ns) for era in eras)
