"""How old a message is when its turn comes, by the publisher's clock and what its heartbeats tell of it. Pure."""

from __future__ import annotations

from datetime import datetime


class Freshness:
    """`max_age_s`: beyond it a message is too old, but not one that was sent before `began_s`; None: none ever is.

    Times are RFC 3339 by the publisher's clock and seconds since 1970 by the own one.
    """

    def __init__(self, max_age_s: float | None, began_s: float) -> None:
        self._max_age_s = max_age_s
        self._began_s = began_s
        self._skew_s: float | None = None
        self._second = ""
        """The last one that was looked at: whoever was published within it is fresh until the same moment."""
        self._until_s = 0.0

    def note(self, published: str, now_s: float) -> None:
        """What was published then has come now: the least delay seen is what the two clocks differ by."""
        delay_s = now_s - _seconds(published)
        self._skew_s = delay_s if self._skew_s is None else min(self._skew_s, delay_s)
        self._second = ""

    def is_too_old(self, published: str, now_s: float) -> bool:
        """Whether what was published then is too old now."""
        if self._max_age_s is None or (now_s <= self._until_s and published[:19] == self._second):
            return False
        published_s, skew_s = _seconds(published), self._skew_s or 0.0
        self._second, self._until_s = published[:19], published_s // 1 + skew_s + self._max_age_s
        sent_s = published_s + skew_s
        return sent_s >= self._began_s and now_s - sent_s > self._max_age_s


def _seconds(published: str) -> float:
    try:
        return datetime.fromisoformat(published).timestamp()
    except ValueError:
        return float("-inf")
