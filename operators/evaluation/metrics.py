"""The field's metrics of emotion and sentiment, on numpy arrays."""

from __future__ import annotations

import numpy as np


def unweighted_average_recall(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over the classes in `truth` (n,) of the share of their rows that `predicted` (n,) names; chance is 1 / classes."""
    return float(np.mean([(predicted[truth == label] == label).mean() for label in np.unique(truth)]))


def weighted_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean of the classes' F1, each weighted by its share of `truth` (n,)."""
    total = 0.0
    for label in np.unique(truth):
        hits = np.sum((truth == label) & (predicted == label))
        total += np.sum(truth == label) * 2 * hits / (np.sum(truth == label) + np.sum(predicted == label))
    return float(total / len(truth))


def sentiment_metrics(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """MAE, Pearson correlation, Acc-7 and Acc-2 of sentiment in [-3, 3], as papers on CMU-MOSI define them.

    MAE and correlation of what was predicted, not limited; Acc-7 of both limited to [-3, 3] and rounded, half to even;
    `acc2_has0` counts 0 as positive, `acc2_non0` leaves rows out whose truth is 0.
    """
    rounded = np.round(np.clip(truth, -3, 3)) == np.round(np.clip(predicted, -3, 3))
    opinionated = truth != 0
    return {
        "mae": float(np.abs(truth - predicted).mean()),
        "corr": float(np.corrcoef(truth, predicted)[0, 1]),
        "acc7": float(rounded.mean()),
        "acc2_has0": float(((truth >= 0) == (predicted >= 0)).mean()),
        "acc2_non0": float(((truth > 0) == (predicted > 0))[opinionated].mean()),
    }
