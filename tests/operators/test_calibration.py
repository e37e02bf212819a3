from __future__ import annotations

import numpy as np
import pytest
import torch

from operators.calibration import calibration_error, fit_temperature, interval_half_width, reliability
from operators.circumplex import CIRCUMPLEX, place_of
from operators.interface import EMOTIONS


def drawn(logits: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Classes drawn under the logits' own probabilities: these are calibrated by construction."""
    return torch.multinomial(logits.softmax(1), 1, generator=torch.Generator().manual_seed(seed))[:, 0]


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_temperature_undoes_a_factor_on_calibrated_logits(factor: float) -> None:
    logits = 2 * torch.randn(20_000, 7, generator=torch.Generator().manual_seed(1))
    assert fit_temperature(factor * logits, drawn(logits)) == pytest.approx(factor, rel=0.05)


def test_calibration_error_is_small_at_the_right_temperature_and_large_at_a_wrong_one() -> None:
    logits = 2 * torch.randn(20_000, 7, generator=torch.Generator().manual_seed(1))
    classes = drawn(logits)
    assert calibration_error(logits.softmax(1), classes) < 0.02
    assert calibration_error((5 * logits).softmax(1), classes) > 0.15


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_intervals_cover_new_residuals_at_their_level(level: float) -> None:
    rng = np.random.default_rng(3)
    half_width = interval_half_width(rng.standard_t(4, 400), level)
    assert np.mean(np.abs(rng.standard_t(4, 40_000)) <= half_width) == pytest.approx(level, abs=0.05)


def test_reliability_is_one_for_knowing_zero_for_guessing_and_never_negative() -> None:
    classes = torch.tensor([0, 1, 1, 2] * 50)
    sure = torch.nn.functional.one_hot(classes, 7).float()
    frequencies = torch.tensor([0.25, 0.5, 0.25, 0, 0, 0, 0]).expand(200, 7)
    assert reliability(sure, classes) == pytest.approx(1.0, abs=1e-5)
    assert reliability(frequencies, classes) == pytest.approx(0.0, abs=1e-5)
    assert reliability(sure.roll(1, 0), classes) == 0.0


def test_places_of_pure_emotions_are_the_table_and_mixtures_lie_between() -> None:
    assert tuple(CIRCUMPLEX) == EMOTIONS
    for index, name in enumerate(EMOTIONS):
        assert place_of(np.eye(7, dtype=np.float32)[index]) == pytest.approx(CIRCUMPLEX[name])
    half = place_of(np.array([0.5, 0.5, 0, 0, 0, 0, 0], np.float32))
    assert half == pytest.approx((0.38, 0.24))
