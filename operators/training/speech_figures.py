"""The figures of a part on voices, on actors who were not trained on: clean and degraded, and by groups of clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from operators.datasets.ravdess import LABELS, SpokenClip
from operators.evaluation.bootstrap import figures_with_intervals
from operators.evaluation.calibration_interval import calibration_figures
from operators.evaluation.metrics import unweighted_average_recall
from operators.interface import EMOTIONS
from operators.training.text_figures import calibrated_by_others

PLAIN: Final = "plain"


def clip_figures(logits: Mapping[str, Tensor], clips: Sequence[SpokenClip]) -> dict[str, float]:
    """Figures of logits (n, 8) by variant, `plain` and degradations; those of plain ones with 95 % intervals.

    `unweighted_recall` is over RAVDESS's eight emotions, `.._7` with calm as neutral, as it is published. The calibration
    error is that of the published emotions, each actor's temperature fitted on other actors.
    """
    truth = np.array([clip.emotion for clip in clips])
    published = as_published(truth)
    actors = np.array([clip.actor for clip in clips])
    plain = logits[PLAIN]
    own = calibrated_by_others(plain, torch.from_numpy(truth), actors).numpy()
    probabilities = own[:, : len(EMOTIONS)].copy()
    probabilities[:, EMOTIONS.index("neutral")] += own[:, LABELS.index("calm")]
    predicted, seven, confidence = plain.argmax(1).numpy(), probabilities.argmax(1), probabilities.max(1)

    def measure(rows: np.ndarray) -> dict[str, float]:
        return {
            "unweighted_recall": unweighted_average_recall(truth[rows], predicted[rows]),
            "unweighted_recall_7": unweighted_average_recall(published[rows], seven[rows]),
        }

    figures = figures_with_intervals(measure, len(truth)) | calibration_figures(confidence, seven == published)
    for variant, degraded in logits.items():
        if variant != PLAIN:
            figures[f"unweighted_recall_under_{variant}"] = unweighted_average_recall(truth, degraded.argmax(1).numpy())
    return figures


def group_figures(name: str, logits: Tensor, clips: Sequence[SpokenClip]) -> dict[str, dict[str, float]]:
    """Unweighted recall of logits (n, 8) by the actors' sex (odd numbers are men) and by intensity, of clips named `name`.

    Neutral is spoken with normal intensity alone, so that the recall of strong clips is over the other seven.
    """
    truth, predicted = np.array([clip.emotion for clip in clips]), logits.argmax(1).numpy()
    men = np.array([clip.actor % 2 == 1 for clip in clips])
    strong = np.array([clip.intensity == "strong" for clip in clips])

    def recalls(**groups: np.ndarray) -> dict[str, float]:
        found = {}
        for group, rows in groups.items():
            recall = unweighted_average_recall(truth[rows], predicted[rows])
            found[f"{group} ({rows.sum()} rows)"] = round(recall, 4)
        return found

    return {
        f"{name}_unweighted_recall by sex of the actor": recalls(men=men, women=~men),
        f"{name}_unweighted_recall by intensity": recalls(normal=~strong, strong=strong),
    }


def as_published(classes: np.ndarray) -> np.ndarray:
    """Indices into `LABELS` (n,) as those into `EMOTIONS`: calm counts as neutral."""
    return np.where(classes == LABELS.index("calm"), EMOTIONS.index("neutral"), classes)


def unweighted_recall(logits: Tensor, classes: Tensor) -> float:
    """Mean over the classes of the share of their clips that logits (n, k) find."""
    return unweighted_average_recall(classes.numpy(), logits.argmax(1).numpy())
