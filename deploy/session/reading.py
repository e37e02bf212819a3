"""Readable sources on virtual time: one reader, always from the source that is furthest behind (design, section 4, rule 5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from stream.recording.entries import Dropped
from stream.sources.readable import ReadableSource
from stream.timeline.packets import Item


class Read(msgspec.Struct, frozen=True, eq=False):
    """What one read gave, stamped with its arrival (growing; virtual ones strictly) and its compressed size.

    Of live sources also what was dropped since the read before, and how uncertain their clocks are.
    """

    arrival_ns: int
    items: list[Item]
    size: int
    dropped: tuple[Dropped, ...] = ()
    uncertainty_ns: int = 0


def read_virtual(sources: Sequence[ReadableSource]) -> Iterator[Read]:
    """All reads of several sources in virtual time.

    Virtual now is the smallest, over sources that have not ended, of the largest event time read. It is a function of the
    sources alone, so that a fast run and one at the media's pace stamp the same arrivals.
    """
    arrival_ns = -1
    while open_sources := [source for source in sources if not source.ended]:
        source = min(open_sources, key=lambda s: s.position_ns)
        items = source.read()
        left = [s.position_ns for s in sources if not s.ended] or [max(s.position_ns for s in sources)]
        arrival_ns = max(arrival_ns + 1, min(left))
        if items:
            yield Read(arrival_ns, items, source.compressed_bytes)
