"""The field's metrics of emotion and sentiment, on numpy arrays. What is not defined for its rows is NaN."""

from __future__ import annotations

import math

import msgspec
import numpy as np

CALIBRATION_BINS = 15
"""Of equal width over [0, 1], as papers on calibration mostly have it."""


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int | None = None) -> np.ndarray:
    """Counts int64 (k, k) of classes (n,) from 0 on: a row for each true class, a column for each predicted one."""
    count = classes or int(max(truth.max(), predicted.max())) + 1
    cells = truth.astype(np.int64) * count + predicted.astype(np.int64)
    return np.bincount(cells, minlength=count * count).reshape(count, count)


def class_metrics(confusion: np.ndarray) -> dict[str, float]:
    """Accuracy, unweighted recall, weighted and macro F1 out of a confusion matrix (k, k) with one row at least.

    `unweighted_recall` is the mean over the classes that the truth has, chance is 1 / classes. `weighted_f1` weights each
    class by its share of the truth; `macro_f1` is the mean over the classes that the truth or the prediction has.
    """
    hits, true, named = np.diagonal(confusion), confusion.sum(1), confusion.sum(0)
    occurring = true + named > 0
    f1 = np.divide(2 * hits, true + named, out=np.zeros(len(confusion)), where=occurring)
    return {
        "accuracy": float(hits.sum() / true.sum()),
        "unweighted_recall": float((hits[true > 0] / true[true > 0]).mean()),
        "weighted_f1": float(f1 @ true / true.sum()),
        "macro_f1": float(f1[occurring].mean()),
    }


def unweighted_average_recall(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over the classes in `truth` (n,) of the share of their rows that `predicted` (n,) names; chance is 1 / classes."""
    return class_metrics(confusion_matrix(truth, predicted))["unweighted_recall"]


def weighted_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean of the classes' F1, each weighted by its share of `truth` (n,)."""
    return class_metrics(confusion_matrix(truth, predicted))["weighted_f1"]


def sentiment_metrics(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """MAE, Pearson correlation, Acc-7, Acc-2 and F1 of sentiment in [-3, 3], as papers on CMU-MOSI define them.

    MAE and correlation of what was predicted, not limited; Acc-7 of both limited to [-3, 3] and rounded, half to even;
    `has0` counts 0 as positive, `non0` leaves rows out whose truth is 0; F1 is weighted by the truth's two classes.
    The correlation of what is constant is not defined, nor is what leaves no row.
    """
    truth, predicted = truth.astype(np.float64), predicted.astype(np.float64)
    rounded = np.round(np.clip(truth, -3, 3)) == np.round(np.clip(predicted, -3, 3))
    opinionated = truth != 0
    has0 = confusion_matrix(truth >= 0, predicted >= 0, 2)
    non0 = confusion_matrix(truth[opinionated] > 0, predicted[opinionated] > 0, 2)
    return {
        "mae": float(np.abs(truth - predicted).mean()),
        "corr": _correlation(truth, predicted),
        "acc7": float(rounded.mean()),
        "acc2_has0": class_metrics(has0)["accuracy"],
        "acc2_non0": class_metrics(non0)["accuracy"] if opinionated.any() else math.nan,
        "f1_has0": class_metrics(has0)["weighted_f1"],
        "f1_non0": class_metrics(non0)["weighted_f1"] if opinionated.any() else math.nan,
    }


class ReliabilityBins(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Rows by their confidence, float64 (b,) each: how many, their mean confidence, the share that was right (0 if none)."""

    counts: np.ndarray
    confidence: np.ndarray
    right: np.ndarray


def reliability_bins(confidence: np.ndarray, right: np.ndarray, bins: int = CALIBRATION_BINS) -> ReliabilityBins:
    """Rows in bins of equal width by confidence (n,) in [0, 1]; `right` bool (n,)."""
    bin_of = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    counts = np.bincount(bin_of, minlength=bins).astype(np.float64)
    shared = np.maximum(counts, 1)
    return ReliabilityBins(
        counts=counts,
        confidence=np.bincount(bin_of, weights=confidence, minlength=bins) / shared,
        right=np.bincount(bin_of, weights=right, minlength=bins) / shared,
    )


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """ECE in [0, 1]: sum over bins of (share of the rows) x |mean confidence - share right|; arguments as above."""
    return float(np.abs(calibration_gaps(confidence, right, bins)).sum())


def calibration_gaps(confidence: np.ndarray, right: np.ndarray, bins: int = CALIBRATION_BINS) -> np.ndarray:
    """The terms of the ECE with their signs, float64 (b,): (share of the rows) x (mean confidence - share right) by bin."""
    found = reliability_bins(confidence, right, bins)
    return found.counts * (found.confidence - found.right) / len(confidence)


def _correlation(truth: np.ndarray, predicted: np.ndarray) -> float:
    if np.ptp(truth) == 0 or np.ptp(predicted) == 0:
        return math.nan
    return float(np.corrcoef(truth, predicted)[0, 1])
