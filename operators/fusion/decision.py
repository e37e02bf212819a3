"""Decision-level fusion: the evidence of each modality, weighted by how far it can be relied on and what it covers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

from operators.interface import EMOTIONS

UNIFORM: Final = np.full(len(EMOTIONS), 1 / len(EMOTIONS))
_FLOOR: Final = 1e-6
"""Of a probability: nobody's opinion rules out what the others are sure of."""


class Opinion(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What one present modality says: emotion probabilities (7,), and the three shares in [0, 1] that make its weight.

    `trust` is how much of its evidence is news beside other modalities. `prior` (7,) is how frequent the emotions were among
    the rows that the probabilities were calibrated on: what the modality says before it has seen anything.
    """

    emotions: np.ndarray
    reliability: float
    coverage: float
    trust: float = 1.0
    prior: np.ndarray = UNIFORM


def fuse_opinions(opinions: Mapping[str, Opinion]) -> tuple[np.ndarray | None, dict[str, float]]:
    """Fused emotions float32 (7,) and the weight of each modality; (None, {}) where nothing has weight.

    A weight is reliability x trust x coverage over the sum of these. Evidence is log(p / prior); it adds up, that of each
    modality by its trust x coverage over the largest of these, on the mean of the log priors under the weights. So one
    modality alone is given out as it is, one that is missing changes the others' weights and nothing else, and of calibrated
    modalities that err independently, all trusted and covering all, this is Bayes' rule. A logarithmic opinion pool: Genest
    and Zidek, "Combining probability distributions", Statistical Science 1986, section 3.
    """
    heard = {name: opinion.trust * opinion.coverage for name, opinion in opinions.items() if opinion.reliability > 0}
    strength = {name: value * opinions[name].reliability for name, value in heard.items() if value > 0}
    if not strength:
        return None, {}
    total, most = sum(strength.values()), max(heard.values())
    weights = {name: value / total for name, value in strength.items()}
    if len(weights) == 1:
        (name,) = weights
        return opinions[name].emotions, {name: 1.0}
    logs = np.zeros(len(EMOTIONS))
    for name, weight in weights.items():
        prior = _logs(opinions[name].prior)
        logs += weight * prior + heard[name] / most * (_logs(opinions[name].emotions) - prior)
    fused = np.exp(logs - logs.max())
    return np.asarray(fused / fused.sum(), np.float32), weights


def _logs(probabilities: np.ndarray) -> np.ndarray:
    logs: np.ndarray = np.log(np.maximum(probabilities.astype(np.float64), _FLOOR))
    return logs
