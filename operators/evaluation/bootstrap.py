"""Bootstrap intervals: how far figures would vary on other rows drawn as these were."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

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
    figure is not defined are left out; NaN where it is in none. Efron 1979. Not for what chance alone makes higher, as a
    calibration error (`calibration_interval.py`).
    """
    generator = np.random.default_rng(seed)
    drawn = [measure(generator.integers(rows, size=rows)) for _ in range(resamples)]
    return {name: _interval(np.array([figures[name] for figures in drawn])) for name in drawn[0]}


def figures_with_intervals(measure: Callable[[np.ndarray], dict[str, float]], rows: int) -> dict[str, float]:
    """Each figure that `measure` gives of all rows, and the ends of its interval as NAME_low and NAME_high."""
    intervals = bootstrap_intervals(measure, rows)
    figures = {}
    for name, value in measure(np.arange(rows)).items():
        figures[name] = value
        figures[f"{name}_low"], figures[f"{name}_high"] = intervals[name]
    return figures


def without_intervals(figures: Mapping[str, float]) -> dict[str, float]:
    """The figures alone."""
    return {name: value for name, value in figures.items() if not name.endswith(("_low", "_high"))}


def _interval(values: np.ndarray) -> tuple[float, float]:
    defined = values[np.isfinite(values)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
