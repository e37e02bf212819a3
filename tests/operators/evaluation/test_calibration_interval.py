from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from operators.evaluation.calibration_interval import calibration_error_interval, calibration_figures
from operators.evaluation.metrics import expected_calibration_error


def confidences(rows: int, random: np.random.Generator) -> np.ndarray:
    return 0.2 + 0.8 * random.beta(3, 2, rows)


@pytest.mark.parametrize(
    "truth",
    [
        lambda confidence: confidence,
        lambda confidence: confidence - 0.05,
        lambda confidence: np.clip(confidence + 0.06 * np.sign(np.sin(40 * confidence)), 0, 1),
        lambda confidence: np.where((confidence * 15).astype(int) == 10, confidence - 0.4, confidence),
    ],
    ids=["calibrated", "over-confident", "here too much, there too little", "wrong in one bin"],
)
def test_the_interval_covers_the_error_of_all_rows(truth: Callable[[np.ndarray], np.ndarray]) -> None:
    random = np.random.default_rng(0)
    everything = confidences(400_000, random)
    # Of probabilities that the rows were right instead of whether they were: the error itself, without chance.
    error = expected_calibration_error(everything, truth(everything))
    trials, covered = 100, 0
    for _ in range(trials):
        confidence = confidences(500, random)
        low, high = calibration_error_interval(confidence, random.random(500) < truth(confidence), resamples=200)
        covered += low <= error <= high
    # So few trials may show three deviations less than the 95 that are promised; the percentile interval covers none to 85.
    assert covered / trials >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / trials)


def test_the_interval_narrows_around_an_error_that_is_there() -> None:
    random = np.random.default_rng(0)
    confidence = confidences(20_000, random)
    low, high = calibration_error_interval(confidence, random.random(20_000) < confidence - 0.1, resamples=200)
    assert 0.08 < low < 0.1 < high < 0.12


def test_the_figures_are_the_error_and_its_interval_and_the_same_each_time() -> None:
    random = np.random.default_rng(1)
    confidence = confidences(80, random)
    right = random.random(80) < confidence
    figures = calibration_figures(confidence, right)
    assert figures["calibration_error"] == pytest.approx(expected_calibration_error(confidence, right))
    assert 0 <= figures["calibration_error_low"] <= figures["calibration_error"] <= figures["calibration_error_high"] <= 1
    assert figures == calibration_figures(confidence, right)


@pytest.mark.parametrize(("confidence", "right", "error"), [(1.0, True, 0.0), (1.0, False, 1.0), (0.7, True, 0.3)])
def test_a_single_row_varies_not(confidence: float, right: bool, error: float) -> None:
    assert calibration_error_interval(np.array([confidence]), np.array([right])) == (
        pytest.approx(error),
        pytest.approx(error),
    )
