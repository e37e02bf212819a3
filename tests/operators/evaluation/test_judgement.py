from __future__ import annotations

import numpy as np
import pytest

from operators.evaluation.judgement import (
    JudgedClasses,
    JudgedSentiment,
    JudgedSplit,
    definition_of,
    figures_of,
    plain_figures,
)
from operators.evaluation.metrics import sentiment_metrics

LABELS = ("neutral", "joy", "anger")


def classes(rows: int = 60, seed: int = 0) -> JudgedClasses:
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet([0.6] * 3, rows).astype(np.float32)
    return JudgedClasses(labels=LABELS, truth=random.integers(0, 3, rows), probabilities=probabilities)


def sentiment(rows: int = 60, seed: int = 0) -> JudgedSentiment:
    random = np.random.default_rng(seed)
    truth = random.uniform(-3, 3, rows)
    predicted = truth + random.normal(0, 0.5, rows)
    return JudgedSentiment(truth=truth, predicted=predicted, low=predicted - 1, high=predicted + 1, level=0.9)


def test_every_figure_has_an_interval_around_it_and_a_definition() -> None:
    for judged in (classes(), sentiment()):
        split = JudgedSplit(judged=judged, items=["row"] * 60, further={"7": judged}, counts={"unanswered": 2})
        figures = figures_of(split)
        assert figures["rows"].value == 60
        assert figures[judged.calibration().name].high is not None
        assert figures["unanswered"].value == 2
        for name, figure in figures.items():
            assert definition_of(name)
            if figure.low is not None and figure.high is not None:
                assert figure.low <= figure.value <= figure.high, name


def test_figures_are_the_same_each_time_and_those_of_the_metrics() -> None:
    judged = sentiment()
    split = JudgedSplit(judged=judged, items=["row"] * 60)
    figures = figures_of(split)
    assert figures == figures_of(split)
    expected = sentiment_metrics(judged.truth, judged.predicted)
    assert {name: figures[name].value for name in expected} == expected
    covered = np.abs(judged.truth - judged.predicted) <= 1
    assert figures["interval_coverage"].value == pytest.approx(covered.mean())
    assert figures["interval_error"].value == pytest.approx(abs(covered.mean() - 0.9))


def test_plain_figures_are_numbers_by_name() -> None:
    plain = plain_figures(figures_of(JudgedSplit(judged=classes(), items=["row"] * 60, further={"7": classes(seed=1)})))
    assert all(isinstance(value, int | float) for value in plain.values())
    assert plain["accuracy_low"] <= plain["accuracy"] <= plain["accuracy_high"]
    assert {"unweighted_recall_7", "unweighted_recall_7_low", "weighted_f1", "macro_f1", "calibration_error"} <= plain.keys()


def test_the_confusion_of_sentiment_is_over_rounded_values() -> None:
    judged = JudgedSentiment(
        truth=np.array([-3.0, 0.5, 2.6]), predicted=np.array([-9.0, 0.4, 1.5]), low=np.zeros(3), high=np.zeros(3), level=0.9
    )
    matrix = judged.confusion
    assert (matrix[0, 0], matrix[3, 3], matrix[6, 5], matrix.sum()) == (1, 1, 1, 3)
    assert judged.labels == ("-3", "-2", "-1", "0", "+1", "+2", "+3")
