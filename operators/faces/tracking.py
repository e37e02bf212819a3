"""Face tracking: one number per person from pick to pick, by place, size and motion; a function of detections and times."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import msgspec
import numpy as np

from operators.faces.detection import Detections
from stream.timeline.time import NS_PER_SECOND, to_seconds


class TrackingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When two detections are the same person. Distances are in sizes of the face (the root of its box's area)."""

    keep_ns: int = NS_PER_SECOND * 3 // 2
    """A face that was not seen for longer is gone; whoever comes then is new. What hides it for a second takes it out of
    the picks for up to 1.4 s, at 5 picks a second."""
    reach: float = 0.8
    """How far from its predicted place a face may be found: people beside each other are farther apart than this."""
    reach_per_second: float = 1.0
    """How much farther for each second that it was not seen before this pick."""
    ratio: float = 1.7
    """How much larger or smaller a face may have become."""
    memory_ns: int = 3 * NS_PER_SECOND
    """How long landmarks are kept to be interpolated."""


Point = Sequence[float]
Box = Sequence[float]


class _Track:
    """One person: the last place, in heights of the picture, its motion, and the landmarks of the last seconds.

    Places are plain numbers: of five points, arrays cost ten times what is computed.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.points: Sequence[Point] = ()
        self.box: Box = ()
        self.velocity = (0.0, 0.0)
        self.seen_ns: deque[int] = deque()
        self.landmarks: deque[np.ndarray] = deque()

    def see(self, points: Sequence[Point], box: Box, landmarks: np.ndarray, at_ns: int) -> None:
        if self.seen_ns:
            elapsed = max(to_seconds(at_ns - self.seen_ns[-1]), 1e-3)
            (x, y), (old_x, old_y) = _middle(points), _middle(self.points)
            right, down = (x - old_x) / elapsed, (y - old_y) / elapsed
            # The second sighting gives the only motion there is; later ones share it with the past, against jitter.
            if len(self.seen_ns) > 1:
                right, down = (self.velocity[0] + right) / 2, (self.velocity[1] + down) / 2
            self.velocity = right, down
        self.points, self.box = points, box
        self.seen_ns.append(at_ns)
        self.landmarks.append(landmarks)

    def cost(self, points: Sequence[Point], box: Box, at_ns: int, settings: TrackingSettings) -> float:
        """How badly a detection fits where this face should be by now, infinite where it is someone else."""
        elapsed = to_seconds(at_ns - self.seen_ns[-1])
        right, down = self.velocity[0] * elapsed, self.velocity[1] * elapsed
        small, large = sorted((_size(self.box), _size(box)))
        pairs = zip(self.points, points, strict=True)
        apart = sum(math.hypot(old_x + right - x, old_y + down - y) for (old_x, old_y), (x, y) in pairs) / len(points)
        distance = apart / max((small + large) / 2, 1e-6)
        ratio = max(large, 1e-6) / max(small, 1e-6)
        if distance > settings.reach + settings.reach_per_second * elapsed or ratio > settings.ratio:
            return math.inf
        x1, y1, x2, y2 = self.box
        return distance + (1 - _overlap((x1 + right, y1 + down, x2 + right, y2 + down), box)) / 2 + math.log(ratio)


class Tracker:
    """Numbers people. A number is never used again, not even after `forget`."""

    def __init__(self, settings: TrackingSettings | None = None) -> None:
        self._settings = settings or TrackingSettings()
        self._tracks: dict[int, _Track] = {}
        self._next = 0

    def update(self, detections: Detections, at_ns: int, *, aspect: float) -> list[int]:
        """The track of each detection at one instant, in order. Instants grow from call to call.

        `aspect` is the picture's width over its height, so that distances mean the same in both directions.
        """
        points = (detections.landmarks * np.array([aspect, 1.0])).tolist()
        boxes = (detections.boxes * np.array([aspect, 1.0, aspect, 1.0])).tolist()
        self._tracks = {n: t for n, t in self._tracks.items() if at_ns - t.seen_ns[-1] <= self._settings.keep_ns}
        pairs = [
            (cost, number, index)
            for number, track in self._tracks.items()
            for index in range(len(detections))
            if (cost := track.cost(points[index], boxes[index], at_ns, self._settings)) < math.inf
        ]
        assigned: dict[int, int] = {}
        for _, number, index in sorted(pairs):
            if index not in assigned and number not in assigned.values():
                assigned[index] = number
        for index in range(len(detections)):
            if index not in assigned:
                assigned[index] = self._next
                self._tracks[self._next] = _Track(self._next)
                self._next += 1
            track = self._tracks[assigned[index]]
            track.see(points[index], boxes[index], detections.landmarks[index], at_ns)
            while at_ns - track.seen_ns[0] > self._settings.memory_ns:
                track.seen_ns.popleft()
                track.landmarks.popleft()
        return [assigned[index] for index in range(len(detections))]

    def landmarks_at(self, track: int, at_ns: int) -> np.ndarray | None:
        """Landmarks of a track at an instant, float32 (5, 2) shares of the picture, interpolated between two picks.

        None where the track is not known, or was not seen on both sides of the instant.
        """
        known = self._tracks.get(track)
        if known is None or not known.seen_ns[0] <= at_ns <= known.seen_ns[-1]:
            return None
        after = next(i for i, seen_ns in enumerate(known.seen_ns) if seen_ns >= at_ns)
        if known.seen_ns[after] == at_ns:
            return known.landmarks[after]
        left_ns, right_ns = known.seen_ns[after - 1], known.seen_ns[after]
        share = np.float32((at_ns - left_ns) / (right_ns - left_ns))
        between: np.ndarray = known.landmarks[after - 1] * (1 - share) + known.landmarks[after] * share
        return between

    def forget(self) -> None:
        """Nobody is expected any more; numbers go on."""
        self._tracks = {}


def _middle(points: Sequence[Point]) -> tuple[float, float]:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def _size(box: Box) -> float:
    return math.sqrt(max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0))


def _overlap(left: Box, right: Box) -> float:
    """Intersection over union of two boxes (x1, y1, x2, y2)."""
    width = max(min(left[2], right[2]) - max(left[0], right[0]), 0.0)
    height = max(min(left[3], right[3]) - max(left[1], right[1]), 0.0)
    shared = width * height
    return shared / max(_size(left) ** 2 + _size(right) ** 2 - shared, 1e-9)
