"""Calibration of heads on validation rows: temperature of classes, interval of a value, reliability of a modality."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def fit_temperature(logits: Tensor, classes: Tensor) -> float:
    """The temperature, 0.05 to 20, by which logits (n, k) are divided so that classes (n,) become most probable."""
    temperatures = torch.logspace(math.log10(0.05), math.log10(20), 400)
    losses = torch.stack([functional.cross_entropy(logits / t, classes) for t in temperatures])
    return float(temperatures[losses.argmin()])


def calibration_error(probabilities: Tensor, classes: Tensor, bins: int = 15) -> float:
    """Expected calibration error in [0, 1]: the top class's probability (n, k) against how often it is right."""
    confidence, predicted = probabilities.max(1)
    right = (predicted == classes).float()
    bin_of = (confidence * bins).long().clamp(max=bins - 1)
    gaps = [(confidence[bin_of == b].mean() - right[bin_of == b].mean()).abs() * (bin_of == b).sum() for b in bin_of.unique()]
    return float(torch.stack(gaps).sum() / len(classes))


def interval_half_width(residuals: np.ndarray, level: float) -> float:
    """Half the width of an interval around a value that covers the share `level` of new rows (split conformal).

    `residuals` (n,) are truth less prediction on rows that were not trained on.
    """
    ordered = np.sort(np.abs(residuals))
    rank = math.ceil((len(ordered) + 1) * level)
    return float(ordered[min(rank, len(ordered)) - 1])


def reliability(probabilities: Tensor, classes: Tensor) -> float:
    """How much a modality tells of the emotion, in [0, 1]: the share of the classes' entropy that it takes away.

    1 - (mean negative log-likelihood of the true classes) / (entropy of their frequencies), not below 0, on validation rows
    (n, k). Unlike accuracy it can be compared between data sets whose classes are differently frequent.
    """
    share = torch.bincount(classes, minlength=probabilities.shape[1]).float() / len(classes)
    entropy = -(share * share.clamp(min=1e-12).log()).sum()
    loss = functional.nll_loss(probabilities.clamp(min=1e-12).log(), classes)
    return float((1 - loss / entropy).clamp(min=0.0))
