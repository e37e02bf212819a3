from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn import metrics as oracle

from operators.calibration import calibration_error
from operators.evaluation.metrics import (
    class_metrics,
    confusion_matrix,
    expected_calibration_error,
    reliability_bins,
    sentiment_metrics,
    unweighted_average_recall,
    weighted_f1,
)

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

ROWS = st.integers(1, 60)
CLASSES = ROWS.flatmap(lambda n: st.tuples(*[arrays.arrays(np.int64, n, elements=st.integers(0, 4))] * 2))
HALVES = st.integers(-8, 8).map(lambda k: k / 2)
SENTIMENTS = ROWS.flatmap(lambda n: st.tuples(*[arrays.arrays(np.float64, n, elements=HALVES | st.floats(-4, 4))] * 2))


def test_recall_and_f1_out_of_counts() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 2])
    predicted = np.array([0, 0, 0, 1, 1, 3, 0])
    assert unweighted_average_recall(truth, predicted) == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)
    # Precision and recall: class 0 3/4 and 3/4, class 1 1/2 and 1/2, class 2 nothing.
    assert weighted_f1(truth, predicted) == pytest.approx((4 * 3 / 4 + 2 * 1 / 2 + 0) / 7)


def test_sentiment_metrics_by_hand() -> None:
    truth = np.array([3.0, 0.0, -1.0, 2.4])
    predicted = np.array([3.9, 0.2, 0.1, 2.5])
    figures = sentiment_metrics(truth, predicted)
    assert figures["mae"] == pytest.approx((0.9 + 0.2 + 1.1 + 0.1) / 4)
    assert figures["acc7"] == pytest.approx(3 / 4)  # 2.5 rounds to the even 2, as 2.4 does
    assert figures["acc2_has0"] == pytest.approx(3 / 4)
    assert figures["acc2_non0"] == pytest.approx(2 / 3)
    assert figures["corr"] == pytest.approx(np.corrcoef(truth, predicted)[0, 1])
    # The negative one is missed: the positive class has precision 3/4 and recall 1 (non0: 2/3 and 1), the other nothing.
    assert figures["f1_has0"] == pytest.approx(3 / 4 * 6 / 7)
    assert figures["f1_non0"] == pytest.approx(2 / 3 * 4 / 5)


@given(CLASSES)
def test_class_metrics_are_those_of_scikit_learn(rows: tuple[np.ndarray, np.ndarray]) -> None:
    truth, predicted = rows
    figures = class_metrics(confusion_matrix(truth, predicted, 5))
    present = np.unique(truth)
    assert figures["accuracy"] == pytest.approx(oracle.accuracy_score(truth, predicted))
    recall = oracle.recall_score(truth, predicted, labels=present, average="macro", zero_division=0)
    assert figures["unweighted_recall"] == pytest.approx(recall)
    assert figures["weighted_f1"] == pytest.approx(oracle.f1_score(truth, predicted, average="weighted", zero_division=0))
    assert figures["macro_f1"] == pytest.approx(oracle.f1_score(truth, predicted, average="macro", zero_division=0))
    assert unweighted_average_recall(truth, predicted) == figures["unweighted_recall"]
    assert weighted_f1(truth, predicted) == figures["weighted_f1"]
    np.testing.assert_array_equal(
        confusion_matrix(truth, predicted, 5), oracle.confusion_matrix(truth, predicted, labels=range(5))
    )


@given(SENTIMENTS)
def test_sentiment_metrics_are_those_of_scikit_learn(rows: tuple[np.ndarray, np.ndarray]) -> None:
    truth, predicted = rows
    figures = sentiment_metrics(truth, predicted)
    assert figures["mae"] == pytest.approx(oracle.mean_absolute_error(truth, predicted))
    rounded = [np.rint(np.clip(values, -3, 3)) for values in rows]
    assert figures["acc7"] == pytest.approx(oracle.accuracy_score(*map(np.int64, rounded)))
    assert figures["acc2_has0"] == pytest.approx(oracle.accuracy_score(truth >= 0, predicted >= 0))
    assert figures["f1_has0"] == pytest.approx(oracle.f1_score(truth >= 0, predicted >= 0, average="weighted", zero_division=0))
    some = truth != 0
    if some.any():
        signs = truth[some] > 0, predicted[some] > 0
        assert figures["acc2_non0"] == pytest.approx(oracle.accuracy_score(*signs))
        assert figures["f1_non0"] == pytest.approx(oracle.f1_score(*signs, average="weighted", zero_division=0))


def test_truth_that_is_zero_throughout_leaves_nothing_for_non0() -> None:
    figures = sentiment_metrics(np.zeros(4), np.array([0.0, 0.4, -0.2, 1.0]))
    assert np.isnan([figures["acc2_non0"], figures["f1_non0"], figures["corr"]]).all()
    assert figures["acc2_has0"] == pytest.approx(3 / 4)
    assert figures["acc7"] == pytest.approx(3 / 4)
    assert figures["mae"] == pytest.approx(0.4)


@pytest.mark.parametrize("constant", [0.0, 0.3])
def test_a_constant_prediction_has_no_correlation(constant: float) -> None:
    figures = sentiment_metrics(np.array([-1.0, 0.0, 2.0]), np.full(3, constant))
    assert np.isnan(figures["corr"])
    assert figures["acc2_has0"] == pytest.approx(2 / 3)  # zero counts as positive: the rows 0 and 2
    assert figures["acc2_non0"] == pytest.approx(0.0 + 1 / 2 if constant > 0 else 1 / 2)


def test_ties_of_rounding_go_to_the_even_number() -> None:
    truth = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5])
    assert sentiment_metrics(truth, np.array([0.0, 2.0, 2.0, 0.0, -2.0, -2.0]))["acc7"] == 1.0
    assert sentiment_metrics(truth, np.array([1.0, 1.0, 3.0, -1.0, -1.0, -3.0]))["acc7"] == 0.0


def test_predictions_beyond_the_scale_count_in_full_for_the_error_and_limited_for_acc7() -> None:
    figures = sentiment_metrics(np.array([3.0, -3.0]), np.array([5.0, -3.0]))
    assert figures["mae"] == 1.0
    assert figures["acc7"] == 1.0


def test_calibration_by_hand() -> None:
    confidence, right = np.array([0.9, 0.9, 0.9, 0.5, 1.0]), np.array([True, True, False, False, True])
    expected = (3 * abs(0.9 - 2 / 3) + 1 * 0.5 + 1 * 0.0) / 5
    assert expected_calibration_error(confidence, right) == pytest.approx(expected)
    bins = reliability_bins(confidence, right)
    assert bins.counts.sum() == 5
    assert bins.counts[-1] == 1  # 1.0 has no bin of its own


@given(st.integers(1, 80), st.integers(0, 2**16))
def test_calibration_is_that_of_the_training(rows: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    probabilities = (torch.randn(rows, 7, generator=random) * 2).softmax(1)
    truth = torch.randint(7, (rows,), generator=random)
    confidence, predicted = probabilities.max(1)
    found = expected_calibration_error(confidence.numpy(), (predicted == truth).numpy())
    assert found == pytest.approx(calibration_error(probabilities, truth), abs=1e-5)
