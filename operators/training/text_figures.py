"""The figures of a text part on rows that it was not trained on, in the ways that texts are written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor

from operators.calibration import fit_temperature, interval_half_width
from operators.datasets.meld import SENTIMENTS, Utterances
from operators.datasets.mosi import Opinions
from operators.evaluation.bootstrap import figures_with_intervals
from operators.evaluation.calibration_interval import calibration_figures
from operators.evaluation.metrics import sentiment_metrics, unweighted_average_recall, weighted_f1

FEWEST: Final = 50
"""Rows below which a figure of a group says nothing."""
FOLDS: Final = 5
"""Parts of the dialogues: four fifths of them fit a temperature nearly as all do."""


def sentiment_figures(values: Mapping[str, np.ndarray], opinions: Opinions, level: float) -> dict[str, float]:
    """Figures of sentiment `values` (n,) by way of writing, the plain way first, whose figures have 95 % intervals.

    `coverage` is the share of the truth that the interval of `level` covers, its width set on the other videos.
    """
    (_, plain), *others = values.items()
    truth = opinions.sentiment
    covered = covered_by_others(truth - plain, opinions.videos, level)

    def measure(rows: np.ndarray) -> dict[str, float]:
        found = sentiment_metrics(truth[rows], plain[rows])
        kept = {name: found[name] for name in ("mae", "corr", "acc7", "acc2_has0", "acc2_non0")}
        return kept | {f"coverage_at_{level:g}": float(covered[rows].mean())}

    figures = figures_with_intervals(measure, len(truth))
    for way, other in others:
        found = sentiment_metrics(truth, other)
        figures |= {f"{name}_of_{way}": found[name] for name in ("mae", "acc2_non0")}
    return figures


def emotion_figures(logits: Mapping[str, Tensor], utterances: Utterances) -> dict[str, float]:
    """Figures of emotion `logits` (n, 7) by way of writing, the plain way first, whose figures have 95 % intervals.

    The calibration error is that of temperatures which were fitted on other dialogues.
    """
    (_, plain), *others = logits.items()
    truth = utterances.emotions
    probabilities = calibrated_by_others(plain, torch.from_numpy(truth), utterances.dialogues).numpy()
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)

    def measure(rows: np.ndarray) -> dict[str, float]:
        return {
            "weighted_f1": weighted_f1(truth[rows], predicted[rows]),
            "unweighted_recall": unweighted_average_recall(truth[rows], predicted[rows]),
        }

    figures = figures_with_intervals(measure, len(truth)) | calibration_figures(confidence, predicted == truth)
    return figures | {f"weighted_f1_of_{way}": weighted_f1(truth, other.argmax(1).numpy()) for way, other in others}


def group_figures(
    values: np.ndarray, opinions: Opinions, logits: Tensor, utterances: Utterances
) -> dict[str, dict[str, float]]:
    """MAE of sentiment `values` (n,) by MOSI's video; of emotion `logits` (m, 7), by MELD's speaker (those with at least
    `FEWEST` rows, the others together) weighted F1, and by the sentiment of what is said accuracy. Groups with their rows.
    """
    errors, videos = np.abs(opinions.sentiment - values), np.array(opinions.videos)
    predicted, truth = logits.argmax(1).numpy(), utterances.emotions
    names, counts = np.unique(np.array(utterances.speakers), return_counts=True)
    frequent = set(names[counts >= FEWEST].tolist())
    speakers = np.array([name if name in frequent else "others" for name in utterances.speakers])
    polarities = np.array([SENTIMENTS[k] if k >= 0 else "" for k in utterances.sentiments])

    def by(groups: np.ndarray, measure: Callable[[np.ndarray], float]) -> dict[str, float]:
        rows_of = {str(name): np.flatnonzero(groups == name) for name in np.unique(groups) if name}
        return {f"{name} ({len(rows)} rows)": round(measure(rows), 4) for name, rows in rows_of.items()}

    return {
        "mosi_valid_mae by video": by(videos, lambda rows: float(errors[rows].mean())),
        "meld_dev_weighted_f1 by speaker": by(speakers, lambda rows: weighted_f1(truth[rows], predicted[rows])),
        "meld_dev_accuracy by sentiment": by(polarities, lambda rows: float((truth[rows] == predicted[rows]).mean())),
    }


def covered_by_others(residuals: np.ndarray, groups: list[str], level: float) -> np.ndarray:
    """Whether each row (n,) lies inside the interval that the rows of the other groups set: bool (n,)."""
    of = np.array(groups)
    covered = np.zeros(len(residuals), np.bool_)
    for group in np.unique(of):
        covered[of == group] = np.abs(residuals[of == group]) <= interval_half_width(residuals[of != group], level)
    return covered


def calibrated_by_others(logits: Tensor, classes: Tensor, groups: np.ndarray) -> Tensor:
    """Probabilities (n, k) of logits (n, k), the temperature of each row fitted on the folds without its group (n,).

    Utterances of a dialogue are alike, so a fold holds whole ones.
    """
    fold_of = torch.from_numpy(np.unique(groups, return_inverse=True)[1] % FOLDS)
    probabilities = logits.softmax(1)
    for fold in fold_of.unique():
        rows = fold_of == fold
        if not rows.all():
            probabilities[rows] = (logits[rows] / fit_temperature(logits[~rows], classes[~rows])).softmax(1)
    return probabilities
