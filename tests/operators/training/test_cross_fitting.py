from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from operators.calibration import calibration_error, fit_temperature
from operators.training.cross_fitting import cross_fitted


def rows(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits three times too sure, sorted by class."""
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(count, 4, generator=generator)
    classes, order = torch.multinomial(true.softmax(1), 1, generator=generator)[:, 0].sort()
    return 3 * true[order], classes


def test_what_is_too_sure_is_calibrated_on_rows_that_did_not_set_the_temperature() -> None:
    logits, classes = rows(4000)
    assert calibration_error(logits.softmax(1), classes) > 0.15
    probabilities = cross_fitted(logits, classes)
    assert calibration_error(probabilities, classes) < 0.03
    torch.testing.assert_close(probabilities.sum(1), torch.ones(4000))
    assert torch.equal(probabilities.argmax(1), logits.argmax(1))
    assert fit_temperature(logits, classes) == pytest.approx(3, rel=0.1)


def test_no_row_sets_its_own_temperature() -> None:
    logits, classes = rows(50)
    other = classes.clone()
    other[7] = (other[7] + 1) % 4
    before, after = cross_fitted(logits, classes), cross_fitted(logits, other)
    torch.testing.assert_close(before[7], after[7], rtol=0, atol=0)
    assert functional.l1_loss(before, after) > 0
