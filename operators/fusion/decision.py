"""Decision-level fusion: what each modality says by itself, weighted by how far it can be relied on and what it covers."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np


class Opinion(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What one present modality says: emotion probabilities (7,), and the two shares in [0, 1] that make its weight."""

    emotions: np.ndarray
    reliability: float
    coverage: float


def fuse_opinions(opinions: Mapping[str, Opinion]) -> tuple[np.ndarray | None, dict[str, float]]:
    """Fused emotions float32 (7,) and the weight of each modality; (None, {}) where nothing has weight.

    A weight is reliability x coverage over the sum of these; the emotions are the mean under the weights. So a modality
    that is missing changes the others' weights and nothing else, and one alone is given out as it is.
    """
    strength = {name: opinion.reliability * opinion.coverage for name, opinion in opinions.items()}
    total = sum(strength.values())
    if total <= 0:
        return None, {}
    weights = {name: value / total for name, value in strength.items() if value > 0}
    if len(weights) == 1:
        (name,) = weights
        return opinions[name].emotions, {name: 1.0}
    fused = sum(weight * opinions[name].emotions.astype(np.float64) for name, weight in weights.items())
    return np.asarray(fused, np.float32), weights
