"""The newest revision of each segment that came, and of each lane: what is told once, and what `latest` shows. Pure."""

from __future__ import annotations

from collections import OrderedDict

from stream.prediction import Prediction

SEGMENTS = 16_384
"""Segments whose newest revision is known, so that one that is published twice comes once; the least recent go first."""
LANES = 4_096
"""Lanes of sessions whose newest prediction is kept."""

Identity = tuple[str, int, str, int]
"""Of a segment: session, source epoch, lane, start_ns."""


class Newest:
    """What is known of the segments of many sessions."""

    def __init__(self) -> None:
        self._revisions: OrderedDict[Identity, tuple[int, str]] = OrderedDict()
        self._lanes: OrderedDict[tuple[str, str], Prediction] = OrderedDict()

    def lanes(self) -> dict[tuple[str, str], Prediction]:
        """By session and lane, the newest revision of the newest segment."""
        return dict(self._lanes)

    def add(self, prediction: Prediction) -> bool:
        """Whether this revision is new: a session may hand its finals to a new publisher once more."""
        result = prediction.result
        identity = (result.session, result.source_epoch, result.lane, result.start_ns)
        known = self._revisions.get(identity)
        if known is not None and (result.revision < known[0] or (result.revision, result.status) == known):
            return False
        self._revisions[identity] = (result.revision, result.status)
        if known is not None:
            self._revisions.move_to_end(identity)
        elif len(self._revisions) > SEGMENTS:
            self._revisions.popitem(last=False)
        lane = (result.session, result.lane)
        newest = self._lanes.get(lane)
        if newest is None or (newest.result.source_epoch, newest.result.start_ns) <= (result.source_epoch, result.start_ns):
            self._lanes[lane] = prediction
            if newest is None and len(self._lanes) > LANES:
                self._lanes.popitem(last=False)
        return True

    def begin(self, session: str) -> None:
        """A session begins anew under its name: its segments are others."""
        for identity in [i for i in self._revisions if i[0] == session]:
            del self._revisions[identity]
