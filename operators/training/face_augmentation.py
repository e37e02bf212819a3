"""Faces of a training set as they could also have looked: askew, mirrored, covered, and as a camera may show them."""

from __future__ import annotations

from typing import Final

import cv2
import msgspec
import numpy as np

from operators.evaluation.face_robustness import (
    at_resolution,
    blurred,
    dark,
    displaced,
    dull,
    lit_from_a_side,
    smeared,
)

_MIDDLE_GREY: Final = 128
"""What a covered square holds: the mean of an equalised picture, which normalises to about 0."""


class FaceAugmentation(msgspec.Struct, frozen=True, kw_only=True):
    """How far faces are changed; pixels are those of the 48x48 crop, in which eyes are 18 apart."""

    angle: float = 12.0
    """Most degrees that a face is turned: what an aligned crop is off by when its landmarks jitter."""
    zoom: float = 0.15
    """Largest change of size, as a share."""
    shift: float = 4.5
    """Most pixels that a face is moved along each axis: a tenth of the crop."""
    degraded: float = 0.3
    """Share of faces that are degraded; more costs accuracy on clean faces in a training this short."""
    equalised: float = 0.5
    """Share of the other faces that are equalised again after they were moved, as the live path equalises last."""
    covered: float = 0.5
    """Share of faces with a square blanked, so that no one place decides."""
    cover: tuple[float, float] = (0.1, 0.33)
    """Side of that square, as a share of the picture's."""
    sigma: tuple[float, float] = (0.5, 2.0)
    """Blur, standard deviation in pixels."""
    smear: tuple[int, ...] = (3, 5, 7, 9)
    """Motion during an exposure, in pixels."""
    side: tuple[int, int] = (12, 36)
    """Pixels across the crop in a picture with a small face."""
    light: tuple[float, float] = (0.04, 0.5)
    """Share of the grey range that a dark picture uses: 10 grey levels to half of them."""
    noise: tuple[float, float] = (0.02, 0.15)
    """A sensor's noise, standard deviation as a share of the range that the picture uses."""
    side_light: tuple[float, float] = (0.3, 0.9)
    """Share of the light that is missing at one side."""
    contrast: tuple[float, float] = (0.3, 0.9)
    """Contrast of a dull picture as a share of an equalised one's."""


def augment(crop: np.ndarray, rng: np.random.Generator, size: int, settings: FaceAugmentation) -> np.ndarray:
    """A crop uint8 (48, 48) as it could also have looked, uint8 (size, size)."""
    equalised = rng.random() < settings.equalised
    if rng.random() < settings.degraded:
        crop, equalised = _degraded(crop, rng, settings)
    crop = displaced(
        crop,
        angle=rng.uniform(-settings.angle, settings.angle),
        zoom=rng.uniform(1 - settings.zoom, 1 + settings.zoom),
        shift=(rng.uniform(-settings.shift, settings.shift), rng.uniform(-settings.shift, settings.shift)),
        size=size,
        mirror=rng.random() < 0.5,
    )
    if equalised:
        crop = cv2.equalizeHist(crop).astype(np.uint8, copy=False)
    if rng.random() < settings.covered:
        side = round(rng.uniform(*settings.cover) * size)
        top, left = rng.integers(0, size, 2)
        crop[max(top - side // 2, 0) : top + side // 2, max(left - side // 2, 0) : left + side // 2] = _MIDDLE_GREY
    return crop


def _degraded(crop: np.ndarray, rng: np.random.Generator, settings: FaceAugmentation) -> tuple[np.ndarray, bool]:
    """The crop degraded in one way, and whether it shall be equalised: only a dull one is sometimes left as it is."""
    match rng.integers(6):
        case 0:
            return blurred(crop, rng.uniform(*settings.sigma)), True
        case 1:
            return smeared(crop, int(rng.choice(settings.smear)), rng.uniform(0, 180)), True
        case 2:
            return at_resolution(crop, int(rng.integers(settings.side[0], settings.side[1] + 1))), True
        case 3:
            light = np.exp(rng.uniform(*np.log(settings.light)))
            return dark(crop, light, light * 255 * rng.uniform(*settings.noise), rng), True
        case 4:
            return lit_from_a_side(crop, rng.uniform(0, 360), rng.uniform(*settings.side_light)), True
        case _:
            contrast = rng.uniform(*settings.contrast)
            return dull(crop, contrast, rng.uniform(0, 255 * (1 - contrast))), bool(rng.random() < 0.5)
