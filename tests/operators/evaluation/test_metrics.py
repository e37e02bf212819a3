from __future__ import annotations

import numpy as np
import pytest

from operators.evaluation.metrics import sentiment_metrics, unweighted_average_recall, weighted_f1


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
