"""Valence and arousal of the published emotions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from operators.interface import EMOTIONS


class Place(NamedTuple):
    """A place on the circumplex, both in [-1, 1]: unpleasant to pleasant, calm to excited."""

    valence: float
    arousal: float


CIRCUMPLEX: dict[str, Place] = {
    "neutral": Place(0.0, 0.0),
    "joy": Place(0.76, 0.48),
    "sadness": Place(-0.63, -0.27),
    "anger": Place(-0.51, 0.59),
    "surprise": Place(0.40, 0.67),
    "fear": Place(-0.64, 0.60),
    "disgust": Place(-0.60, 0.35),
}
"""After the ratings of emotion terms by Russell and Mehrabian (1977); neutral is the origin by definition."""
_PLACES = np.array([CIRCUMPLEX[name] for name in EMOTIONS], np.float64)


def place_of(emotions: np.ndarray) -> Place:
    """The mean place under emotion probabilities (7,) in the order of `EMOTIONS`."""
    valence, arousal = emotions.astype(np.float64) @ _PLACES
    return Place(float(valence), float(arousal))
