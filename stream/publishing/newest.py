"""The newest revision of each segment that came, and of each lane: what is told once, and what `latest` shows. Pure."""

from __future__ import annotations

from collections import OrderedDict

from stream.prediction import Prediction

SEGMENTS = 8_192
"""Segments, the newest, whose revision is known at least (at most twice as many), so that one published twice comes once."""
LANES = 4_096
"""Lanes of sessions whose newest prediction is kept."""

Identity = tuple[str, int, str, int]
"""Of a segment: session, source epoch, lane, start_ns."""


class Newest:
    """What is known of the segments of many sessions."""

    def __init__(self) -> None:
        self._recent: dict[Identity, tuple[int, str]] = {}
        self._before: dict[Identity, tuple[int, str]] = {}
        self._lanes: OrderedDict[tuple[str, str], Prediction] = OrderedDict()

    def lanes(self) -> dict[tuple[str, str], Prediction]:
        """By session and lane, the newest revision of the newest segment."""
        return dict(self._lanes)

    def add(self, prediction: Prediction) -> bool:
        """Whether this revision is new: a session may hand its finals to a new publisher once more."""
        result = prediction.result
        identity = (result.session, result.source_epoch, result.lane, result.start_ns)
        known = self._recent.get(identity) or self._before.get(identity)
        if known is not None and (result.revision < known[0] or (result.revision, result.status) == known):
            return False
        self._recent[identity] = (result.revision, result.status)
        if len(self._recent) >= SEGMENTS:  # the least recent go at once: one by one, each would cost as much as it did to add
            self._before, self._recent = self._recent, {}
        lane = (result.session, result.lane)
        newest = self._lanes.get(lane)
        if newest is None or (newest.result.source_epoch, newest.result.start_ns) <= (result.source_epoch, result.start_ns):
            self._lanes[lane] = prediction
            if newest is None and len(self._lanes) > LANES:
                self._lanes.popitem(last=False)
        return True

    def begin(self, session: str) -> None:
        """A session begins anew under its name: its segments are others."""
        for known in (self._recent, self._before):
            for identity in [i for i in known if i[0] == session]:
                del known[identity]
