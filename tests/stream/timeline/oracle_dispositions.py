"""Oracle of docs/timeline.md section 7: what becomes of each packet."""

from __future__ import annotations

from oracle_states import Expected


def is_late(expected: Expected, i: int) -> bool:
    """Whether packet i was taken and came when its segments, at least one, were all frozen."""
    theirs = expected.closed_ones(i, i - 1)
    all_frozen = theirs and all(f.frozen < (i, 1, 0) for f in theirs)
    return bool(expected.taken[i] and all_frozen and not expected.claimed(i, i - 1))


def disposition(expected: Expected, i: int, now: int) -> str:
    """What packet i is after item `now`: refused (that is dropped at the door), late, used, pending or unclaimed."""
    if not expected.taken[i]:
        return "refused"
    if is_late(expected, i):
        return "late"
    theirs = [f for f in expected.closed_ones(i, now) if f.frozen >= (i, 1, 0)]
    if any(f.final <= (now, 1, expected.arrivals[now]) for f in theirs):
        return "used"
    return "pending" if theirs or expected.claimed(i, now) else "unclaimed"
