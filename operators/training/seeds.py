"""What differs between trainings by nothing but their seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def seed_figures(seeds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean and deviation over seeds, two at least, of each of their figures."""
    figures = {}
    for name in seeds[0]:
        values = np.array([seed[name] for seed in seeds])
        figures[f"{name}_mean_of_{len(seeds)}_seeds"] = float(values.mean())
        figures[f"{name}_deviation_of_{len(seeds)}_seeds"] = float(values.std(ddof=1))
    return figures
