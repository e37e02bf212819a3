from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from operators.evaluation.metrics import sentiment_metrics, unweighted_average_recall, weighted_f1


def test_recall_and_f1_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 7, 400)
    predicted = np.where(rng.random(400) < 0.6, truth, rng.integers(0, 7, 400))
    assert unweighted_average_recall(truth, predicted) == pytest.approx(recall_score(truth, predicted, average="macro"))
    assert weighted_f1(truth, predicted) == pytest.approx(f1_score(truth, predicted, average="weighted"))


def test_sentiment_metrics_by_hand() -> None:
    truth = np.array([3.0, 0.0, -1.0, 2.4])
    predicted = np.array([3.9, 0.2, 0.1, 2.5])
    figures = sentiment_metrics(truth, predicted)
    assert figures["mae"] == pytest.approx((0.9 + 0.2 + 1.1 + 0.1) / 4)
    assert figures["acc7"] == pytest.approx(3 / 4)  # 2.5 rounds to the even 2, as 2.4 does
    assert figures["acc2_has0"] == pytest.approx(3 / 4)
    assert figures["acc2_non0"] == pytest.approx(2 / 3)
    assert figures["corr"] == pytest.approx(np.corrcoef(truth, predicted)[0, 1])
