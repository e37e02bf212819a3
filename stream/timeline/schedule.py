"""Segments that are known beforehand, windows on a grid and the lines of a transcript: they only wait for R to pass."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from stream.timeline.segmentation import Lane, Segment, Tiling
from stream.timeline.segments import Reason, SegmentKind
from stream.timeline.settings import LineSettings, WindowSettings
from stream.timeline.time import Span
from stream.timeline.watermark import NEVER_NS, Watermarks


class Windows(Lane):
    """Windows [k hop, k hop + length); they overlap, touch or leave gaps. One that a cut falls into goes on behind it."""

    def __init__(self, settings: WindowSettings) -> None:
        super().__init__()
        self._length_ns = settings.length_ns
        self._hop_ns = settings.hop_ns
        self._next_ns = 0
        self._closed_ns = 0
        self._reference_ns = NEVER_NS

    def advance(self, marks: Watermarks) -> None:
        """Opens the windows that R has entered, closes those that it has left."""
        reference_ns = self._reference_ns = marks.reference_ns
        while self._next_ns < reference_ns:
            self.open.append(Segment(self.epoch, "window", self._next_ns))
            self._next_ns = self._floor(self._next_ns) + self._hop_ns
        while self.open and (end_ns := self._floor(self.open[0].start_ns) + self._length_ns) <= reference_ns:
            self._close(end_ns, "window")
            self._closed_ns = end_ns
        self.boundary_ns = self.open[0].start_ns if self.open else self._next_ns
        self._settle_end(marks.all_sources_ended, max(reference_ns, self._era_ns))

    @property
    def pace_ns(self) -> int:
        """R."""
        return self._reference_ns

    def claims(self, start_ns: int, end_ns: int) -> bool:
        """Whether a window that is open or to come overlaps [start_ns, end_ns)."""
        if self.ended or start_ns >= end_ns:
            return False
        first_ns = max(self._floor(start_ns), self.boundary_ns)
        newest_ns = self._floor(first_ns)
        return first_ns < end_ns and (start_ns < newest_ns + self._length_ns or newest_ns + self._hop_ns < end_ns)

    def claimed(self, start_ns: int, end_ns: int) -> bool:
        """Whether a window that has closed overlaps [start_ns, end_ns)."""
        if any(self._overlaps(start_ns, min(end_ns, era.end_ns), era.start_ns, era.end_ns) for era in self.eras):
            return True
        return self._overlaps(start_ns, end_ns, self._era_ns, self.boundary_ns)

    def _overlaps(self, start_ns: int, end_ns: int, first_ns: int, before_ns: int) -> bool:
        """Whether a window that begins in [first_ns, before_ns) overlaps [start_ns, end_ns)."""
        if start_ns >= end_ns:
            return False
        newest_ns = min(self._floor(start_ns), self._floor(before_ns - 1))
        window_ns = max(newest_ns, self._first(first_ns))
        if window_ns >= before_ns or window_ns >= end_ns:
            return False
        newest_ns = self._floor(window_ns)
        following_ns = newest_ns + self._hop_ns
        return start_ns < newest_ns + self._length_ns or (following_ns < before_ns and following_ns < end_ns)

    def _floor(self, instant_ns: int) -> int:
        return instant_ns // self._hop_ns * self._hop_ns

    def _first(self, instant_ns: int) -> int:
        """Where the first window after a cut begins: at once, as the rest of the newest one of the grid, if it has any."""
        newest_ns = self._floor(instant_ns)
        return instant_ns if instant_ns < newest_ns + self._length_ns else newest_ns + self._hop_ns

    def _cut(self, at_ns: int, marks: Watermarks) -> int:
        # Not behind where the new epoch begins, if nothing of that was shown: what is final at once would be without it.
        shown_ns = max([self._closed_ns, *(segment.shown_ns for segment in self.open if segment.number)])
        end_ns = max(self._era_ns, shown_ns, min(marks.reference_ns, at_ns))
        while self.open and self.open[0].start_ns < end_ns:
            self._close(end_ns, "reconnect")
        self.open.clear()
        return end_ns

    def _new_era(self, end_ns: int, start_ns: int) -> None:
        super()._new_era(end_ns, start_ns)
        self._next_ns = self.boundary_ns = self._first(start_ns)


class Lines(Tiling):
    """The given lines, made disjoint, and silence windows between them."""

    def __init__(self, settings: LineSettings) -> None:
        super().__init__()
        self._lines = deque(disjoint(settings.lines))
        self._silence_ns = settings.silence_ns
        self._reference_ns = NEVER_NS

    def advance(self, marks: Watermarks) -> None:
        """Opens and closes the segments that R has passed, one after the other."""
        reference_ns = self._reference_ns = marks.reference_ns
        while self.boundary_ns < reference_ns:
            kind, end_ns, reason = self._planned()
            self._begin(kind)
            if reference_ns < end_ns:
                break
            self._close(end_ns, reason)
        self._settle_end(marks.all_sources_ended, max(reference_ns, self.boundary_ns))

    @property
    def pace_ns(self) -> int:
        """R."""
        return self._reference_ns

    def _planned(self) -> tuple[SegmentKind, int, Reason]:
        """Kind, end and reason of the segment that begins at the boundary."""
        while self._lines and self._lines[0].end_ns <= self.boundary_ns:
            self._lines.popleft()
        end_ns = self.boundary_ns + self._silence_ns
        if self._lines:
            line = self._lines[0]
            if line.start_ns <= self.boundary_ns:
                return "line", line.end_ns, "line"
            if line.start_ns < end_ns:
                return "silence", line.start_ns, "speech"
        return "silence", end_ns, "window"

    def _cut(self, at_ns: int, marks: Watermarks) -> int:  # noqa: ARG002 - of windows
        end_ns = max(marks.reference_ns, self.boundary_ns)
        if self.open:
            self._close(end_ns, "reconnect")
        return end_ns


def disjoint(lines: Iterable[Span]) -> list[Span]:
    """Lines in order of start (then of end), each raised to the end of the one before; what becomes empty is left out."""
    kept: list[Span] = []
    for line in sorted(lines):
        start_ns = max(line.start_ns, kept[-1].end_ns if kept else 0)
        if start_ns < line.end_ns:
            kept.append(Span(start_ns, line.end_ns))
    return kept
