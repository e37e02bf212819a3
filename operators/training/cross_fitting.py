"""Probabilities of validation rows by temperatures that were fitted on the other rows."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from operators.calibration import fit_temperature

FOLDS: Final = 5
"""Parts of the rows: four fifths of them fit a temperature nearly as all do."""
_SEED: Final = 0
"""Of the order in which rows go into folds: files are sorted by class."""


def cross_fitted(logits: Tensor, classes: Tensor) -> Tensor:
    """Probabilities float32 (n, k) of logits (n, k), each row's temperature fitted on the folds that it is not in.

    Figures of calibration are measured on these: on rows that set the temperature they would flatter it.
    """
    fold_of = torch.randperm(len(logits), generator=torch.Generator().manual_seed(_SEED)) % FOLDS
    probabilities = torch.empty_like(logits)
    for fold in range(FOLDS):
        held_out = fold_of == fold
        temperature = fit_temperature(logits[~held_out], classes[~held_out])
        probabilities[held_out] = (logits[held_out] / temperature).softmax(1)
    return probabilities
