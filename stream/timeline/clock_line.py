"""What a map knows of its device's clock: the observations kept, and the line through them that says offset and rate.

All is relative to the first observation of the source epoch: x is device time, y is session time less device time, both
in nanoseconds, float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from stream.timeline.clock_settings import ClockSettings

_MAX_STEPS = 64
"""Of a search that takes about six; a bound for the sake of the proof."""
_HUBER = 1.345
"""Residuals beyond so many scales count less: 95 % efficient where errors are normal."""
_MAD_TO_SCALE = 1.4826


class Rate(NamedTuple):
    """By how much y grows per x, and how far it may be off (one sigma)."""

    rate: float
    uncertainty: float

    def joined(self, measured: Rate, limit: float) -> Rate:
        """This, known before, and what has been measured since, weighed by their uncertainties, within +- limit."""
        before, now = self.uncertainty**2, measured.uncertainty**2
        share = before / (before + now)
        rate = self.rate + share * (measured.rate - self.rate)
        return Rate(min(max(rate, -limit), limit), math.sqrt(share * now))


class Line(NamedTuple):
    """y = offset_ns + rate (x - pivot_ns), and how far that may be off: offset_uncertainty_ns + 2 sigma of the rate a x."""

    pivot_ns: float
    offset_ns: float
    rate: Rate
    offset_uncertainty_ns: float

    def at(self, x_ns: float) -> float:
        """The line at device time x: y in nanoseconds."""
        return self.offset_ns + self.rate.rate * (x_ns - self.pivot_ns)

    def uncertainty(self, x_ns: float, wander: float) -> float:
        """By how many nanoseconds the line may be off at x; `wander`: by how much the rate itself may have moved."""
        return self.offset_uncertainty_ns + (2 * self.rate.uncertainty + wander) * abs(x_ns - self.pivot_ns)


class Observations:
    """The best observation of each block of `block_ns` over the last `rate_window_ns`, in arrays of fixed size.

    The best is the least delayed one, or of two-way offsets the surest.
    """

    def __init__(self, settings: ClockSettings) -> None:
        self._settings = settings
        self._capacity = settings.rate_window_ns // settings.block_ns + 1
        self._kept = np.empty((3, 2 * self._capacity))
        self._first = self._end = 0
        self._block = -1
        self._best = math.inf

    def __len__(self) -> int:
        return self._end - self._first

    def add(self, x_ns: int, y_ns: int, uncertainty_ns: int, badness: float) -> None:
        """Keep an observation where it is the least bad of its block."""
        block = x_ns // self._settings.block_ns
        if block <= self._block:  # of the newest block, or out of order
            if badness >= self._best:
                return
        else:
            self._block = block
            self._end += 1
            if self._end > self._kept.shape[1]:
                self._kept[:, : self._capacity - 1] = self._kept[:, 1 - self._capacity :]
                self._first, self._end = 0, self._capacity
            self._first = max(self._first, self._end - self._capacity)
        self._best = badness
        self._kept[:, self._end - 1] = x_ns, y_ns, uncertainty_ns

    def window(self) -> np.ndarray:
        """x, y, uncertainty of what is young enough: float64 (3, n), nanoseconds, in order of block."""
        oldest = self._kept[0, self._end - 1] - self._settings.rate_window_ns
        while self._kept[0, self._first] < oldest:
            self._first += 1
        return self._kept[:, self._first : self._end]


def floor_line(points: np.ndarray, before: Rate, settings: ClockSettings) -> Line:
    """The line under one-way arrivals: what was delayed least says most (Moon, Skelly, Towsley 1999).

    The rate is that of the edge of the lower convex hull under the middle of the window (the line below all points that
    is nearest to them on average); the offset is the lowest of the newest blocks along that rate.
    """
    x, y = points[0], points[1]
    edge = _lower_edge(x, y)
    rate = before
    if edge is not None:
        slope, span_ns, above = edge
        uncertainty = max(2 * _floor_gap(above, settings) / span_ns, 1e-9)
        rate = before.joined(Rate(slope, uncertainty), settings.rate_limit)
    recent = y[-settings.floor_blocks :] - rate.rate * x[-settings.floor_blocks :]
    lowest = int(np.argmin(recent))
    pivot = len(x) - len(recent) + lowest
    gap_ns = _floor_gap(recent - recent[lowest], settings)
    # Where the newest floor lies above that of the whole window the delay has grown, or all of it is congestion.
    risen_ns = float(recent[lowest] - (y - rate.rate * x).min()) if edge is not None else 0.0
    risen_ns = max(0.0, risen_ns - 2 * rate.uncertainty * float(x[-1] - x[0]))
    return Line(float(x[pivot]), float(y[pivot]), rate, gap_ns + risen_ns)


def _floor_gap(above: np.ndarray, settings: ClockSettings) -> float:
    """How far the true floor may lie below the lowest of n points that lie `above` (n,) it, in nanoseconds."""
    n = len(above)
    expected = 4 * (settings.jitter_ns + float(above.sum())) / (n * (n + 1))
    if n <= settings.rank:
        return expected
    return max(expected, float(np.partition(above, settings.rank - 1)[settings.rank - 1]))


def _lower_edge(x: np.ndarray, y: np.ndarray) -> tuple[float, float, np.ndarray] | None:
    """Slope, length in x and residuals (n,) of the lower hull's edge under the mean of x; None where there is none."""
    left = x <= x.mean()
    if left.all():
        return None
    i, j = int(np.argmin(np.where(left, y, np.inf))), int(np.argmin(np.where(left, np.inf, y)))
    for _ in range(_MAX_STEPS):
        slope = (y[j] - y[i]) / (x[j] - x[i])
        above = y - y[i] - slope * (x - x[i])
        lowest = int(np.argmin(above))
        if above[lowest] > -1:  # nanosecond
            break
        if left[lowest]:
            i = lowest
        else:
            j = lowest
    return float(slope), float(x[j] - x[i]), np.maximum(above, 0)


def middle_line(points: np.ndarray, before: Rate, settings: ClockSettings) -> Line:
    """The line through two-way offsets, whose errors have either sign: least squares, far ones counting less (Huber 1964)."""
    x, y, stated = points
    n = len(x)
    weight, rate = np.ones(n), before
    for _ in range(5):
        total = weight.sum()
        pivot, offset = float(weight @ x / total), float(weight @ y / total)
        spread = float(weight @ (x - pivot) ** 2)
        residual = y - offset - rate.rate * (x - pivot)
        scale = (settings.offset_noise_ns + n * _MAD_TO_SCALE * float(np.median(np.abs(residual)))) / (n + 1)
        if spread > 0:
            slope = float(weight @ ((x - pivot) * (y - offset))) / spread
            rate = before.joined(Rate(slope, scale / math.sqrt(spread)), settings.rate_limit)
            residual = y - offset - rate.rate * (x - pivot)
        weight = np.minimum(1, _HUBER * scale / np.maximum(np.abs(residual), 1e-3))
    return Line(pivot, offset, rate, 2 * scale / math.sqrt(n) + float(np.median(stated)))
