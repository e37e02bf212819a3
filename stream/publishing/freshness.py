"""How old a message is when its turn comes, by the publisher's clock and what its heartbeats tell of it."""

from __future__ import annotations

import time
from datetime import datetime


class Freshness:
    """`max_age_s`: beyond it a message is too old, but never one from before this was made; None: none ever is."""

    def __init__(self, max_age_s: float | None) -> None:
        self.second = ""
        """The last one that was looked at: whoever was published within it is fresh until the same moment."""
        self.until_s = 0.0
        """That moment, by the own clock."""
        self._max_age_s = max_age_s
        self._began_s = time.time()
        self._skew_s: float | None = None

    def note(self, published: str) -> None:
        """What was published comes now: the least delay seen is what the two clocks differ by."""
        delay_s = time.time() - _seconds(published)
        self._skew_s = delay_s if self._skew_s is None else min(self._skew_s, delay_s)
        self.second = ""

    def is_too_old(self, published: str) -> bool:
        """Whether what was published then (RFC 3339) is too old by now."""
        if published[:19] == self.second and time.time() <= self.until_s:
            return False
        if self._max_age_s is None:
            self.second, self.until_s = published[:19], float("inf")
            return False
        published_s, skew_s = _seconds(published), self._skew_s or 0.0
        self.second, self.until_s = published[:19], published_s // 1 + skew_s + self._max_age_s
        sent_s = published_s + skew_s
        return sent_s >= self._began_s and time.time() - sent_s > self._max_age_s


def _seconds(published: str) -> float:
    try:
        return datetime.fromisoformat(published).timestamp()
    except ValueError:
        return float("-inf")
