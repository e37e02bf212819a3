"""The interval of an expected calibration error: how far the error of all rows may be from that of the rows at hand."""

from __future__ import annotations

import numpy as np

from operators.evaluation.bootstrap import LEVEL, RESAMPLES, SEED
from operators.evaluation.metrics import calibration_gaps


def calibration_error_interval(
    confidence: np.ndarray, right: np.ndarray, *, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float]:
    """A 95 % bootstrap interval of the ECE over bins, in [0, 1]; `confidence` float (n,) in [0, 1], `right` bool (n,).

    The error sums absolute gaps, so chance makes it too high on few rows (Roelofs et al. 2022) and resampling again: the
    percentile interval of a calibrated model lies above its error. Where a gap is near zero no bootstrap of the error
    itself is consistent (Fang and Santos 2019). That of the gaps is; how they move bounds how the error does, below by
    the triangle inequality, above by the derivative at the gaps found. It covers 95 % or more, most often more.
    """
    gaps = calibration_gaps(confidence, right)
    generator, count = np.random.default_rng(seed), len(confidence)
    drawn = (generator.integers(count, size=count) for _ in range(resamples))
    moved = np.array([calibration_gaps(confidence[rows], right[rows]) for rows in drawn]) - gaps
    error = np.abs(gaps).sum()
    low = error - np.quantile(np.abs(moved).sum(1), (1 + LEVEL) / 2)
    high = error - np.quantile(moved @ np.sign(gaps), (1 - LEVEL) / 2)
    return float(max(0.0, low)), float(np.clip(high, error, 1.0))


def calibration_figures(confidence: np.ndarray, right: np.ndarray) -> dict[str, float]:
    """The `calibration_error` of rows as above, and the ends of its interval as `.._low` and `.._high`."""
    low, high = calibration_error_interval(confidence, right)
    error = float(np.abs(calibration_gaps(confidence, right)).sum())
    return {"calibration_error": error, "calibration_error_low": low, "calibration_error_high": high}
