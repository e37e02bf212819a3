"""The newest revision of each segment that came, and of each lane: what is told once, and what `latest` shows. Pure."""

from __future__ import annotations

from stream.prediction import Prediction, Result

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
        self._lanes: dict[tuple[str, str], Prediction] = {}
        self._has_let_go = False
        """Lanes have been left: what is newer than the newest of its lane may have come, all the same."""

    def lanes(self) -> dict[tuple[str, str], Prediction]:
        """By session and lane, the newest revision of the newest segment."""
        return dict(self._lanes)

    def add(self, prediction: Prediction) -> bool:
        """Whether this revision is new: a session may hand its finals to a new publisher once more."""
        result = prediction.result
        lane = (result.session, result.lane)
        newest = self._lanes.get(lane)
        if newest is None:
            return self._is_unseen(result) and self._add_lane(lane, prediction)
        last = newest.result
        epoch, start_ns, last_ns = result.source_epoch, result.start_ns, last.start_ns
        # Nearly all are the newest segment's next revision or a newer one, which are looked up nowhere else.
        if epoch == last.source_epoch and start_ns == last_ns:
            if not _follows(result, last.revision, last.status):
                return False
        elif epoch == last.source_epoch and start_ns > last_ns and not self._has_let_go:
            self._remember(last)
        elif not self._is_unseen(result):
            return False
        elif (epoch, start_ns) < (last.source_epoch, last_ns):
            self._remember(result)
            return True
        else:
            self._remember(last)
        self._lanes[lane] = prediction
        return True

    def begin(self, session: str) -> None:
        """A session begins anew under its name: its segments are others."""
        for known in (self._recent, self._before):
            for identity in [i for i in known if i[0] == session]:
                del known[identity]
        for lane in [lane for lane in self._lanes if lane[0] == session]:
            del self._lanes[lane]

    def _is_unseen(self, result: Result) -> bool:
        """Whether a segment that is not its lane's newest has not come, or only in an earlier revision."""
        identity = (result.session, result.source_epoch, result.lane, result.start_ns)
        known = self._recent.get(identity) or self._before.get(identity)
        return known is None or _follows(result, *known)

    def _add_lane(self, lane: tuple[str, str], prediction: Prediction) -> bool:
        if len(self._lanes) >= LANES:
            self._has_let_go = True
            self._remember(self._lanes.pop(next(iter(self._lanes))).result)
        self._lanes[lane] = prediction
        return True

    def _remember(self, result: Result) -> None:
        identity = (result.session, result.source_epoch, result.lane, result.start_ns)
        self._recent[identity] = (result.revision, result.status)
        if len(self._recent) >= SEGMENTS:  # the least recent go at once: one by one, each would cost as much as it did to add
            self._before, self._recent = self._recent, {}


def _follows(result: Result, revision: int, status: str) -> bool:
    return result.revision > revision or (result.revision == revision and result.status != status)
