"""Bootstrap intervals: how far figures would vary on other rows drawn as these were."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

LEVEL = 0.95
RESAMPLES = 1000
"""Enough for the second digit of a 95 % interval."""
SEED = 0


def bootstrap_intervals(
    measure: Callable[[np.ndarray], dict[str, float]], rows: int, *, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, tuple[float, float]]:
    """The percentile interval of each figure that `measure` gives of row numbers int64 (rows,), drawn with replacement.

    Rows count as independent: where speakers or videos repeat, a figure on new ones varies more. Resamples in which a
    figure is not defined are left out; NaN where it is in none. Efron 1979.
    """
    generator = np.random.default_rng(seed)
    drawn = [measure(generator.integers(rows, size=rows)) for _ in range(resamples)]
    return {name: _interval(np.array([figures[name] for figures in drawn])) for name in drawn[0]}


def _interval(values: np.ndarray) -> tuple[float, float]:
    defined = values[np.isfinite(values)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
