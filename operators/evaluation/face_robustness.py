"""Faces as a live picture may hold them (dark, noisy, blurred, small, askew), and how often they are still told right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np

Degradation = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""A crop uint8 (48, 48) as it would have looked under worse conditions, before it is equalised."""

SEED: Final = 0
"""Of the random parts of a report: the same pictures each time."""


def blurred(crop: np.ndarray, sigma: float) -> np.ndarray:
    """Out of focus by a Gaussian of `sigma` pixels of the crop, whose eyes are 18 apart."""
    return _uint8(cv2.GaussianBlur(crop, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))


def smeared(crop: np.ndarray, length: int, angle: float) -> np.ndarray:
    """Moved by `length` pixels (odd) during the exposure, in the direction `angle` in degrees."""
    middle = (length - 1) / 2
    line = np.zeros((length, length), np.float32)
    line[length // 2] = 1.0
    turned = cv2.warpAffine(line, cv2.getRotationMatrix2D((middle, middle), angle, 1.0), (length, length))
    return _uint8(cv2.filter2D(crop, -1, turned / turned.sum(), borderType=cv2.BORDER_REPLICATE))


def at_resolution(crop: np.ndarray, side: int) -> np.ndarray:
    """Out of a picture in which the crop was `side` pixels wide: a face far away."""
    small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    return _uint8(cv2.resize(small, crop.shape[::-1], interpolation=cv2.INTER_LINEAR))


def displaced(
    crop: np.ndarray, *, angle: float, zoom: float, shift: tuple[float, float], size: int = 48, mirror: bool = False
) -> np.ndarray:
    """Turned by `angle` degrees, enlarged by `zoom`, moved by `shift` pixels of the crop; drawn uint8 (size, size)."""
    scale, radians = zoom * size / len(crop), np.deg2rad(angle)
    cosine, sine = scale * np.cos(radians), scale * np.sin(radians)
    across = -1.0 if mirror else 1.0
    matrix = np.array([[across * cosine, sine, 0.0], [-across * sine, cosine, 0.0]])
    before, after = (len(crop) - 1) / 2, (size - 1) / 2
    matrix[:, 2] = after + np.array(shift) * size / len(crop) - matrix[:, :2] @ (before, before)
    return _uint8(cv2.warpAffine(crop, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def dull(crop: np.ndarray, gain: float, offset: float) -> np.ndarray:
    """Grey values g as gain * g + offset: the contrast and brightness of a camera's picture, in whole grey levels."""
    return (crop * np.float32(gain) + np.float32(offset)).clip(0, 255).astype(np.uint8)


def dark(crop: np.ndarray, gain: float, noise: float, rng: np.random.Generator) -> np.ndarray:
    """With `gain` of its light, and a sensor's noise of `noise` grey levels (standard deviation)."""
    light = crop * np.float32(gain) + noise * rng.standard_normal(crop.shape, np.float32)
    return (light + np.float32(0.5)).clip(0, 255).astype(np.uint8)


def lit_from_a_side(crop: np.ndarray, angle: float, strength: float) -> np.ndarray:
    """Light that falls off by `strength` (0 to 1) across the crop, in the direction `angle` in degrees."""
    along = np.linspace(-0.5, 0.5, len(crop), dtype=np.float32)
    radians = np.deg2rad(angle)
    slope = np.float32(np.cos(radians)) * along[None] + np.float32(np.sin(radians)) * along[:, None]
    return (crop * (1 - np.float32(strength) * (0.5 + slope))).clip(0, 255).astype(np.uint8)


def _askew(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    direction = rng.uniform(0, 2 * np.pi)
    shift = (4 * np.cos(direction), 4 * np.sin(direction))
    return displaced(crop, angle=rng.choice([-12, 12]), zoom=rng.choice([0.9, 1.1]), shift=shift)


DEGRADATIONS: Final[dict[str, Degradation]] = {
    "low_contrast": lambda crop, _: dull(crop, 0.4, 70),
    "darkness": lambda crop, rng: dark(crop, 0.06, 1.0, rng),
    "noise": lambda crop, rng: dark(crop, 0.4, 10.0, rng),
    "side_light": lambda crop, rng: lit_from_a_side(crop, rng.uniform(0, 360), 0.8),
    "blur": lambda crop, _: blurred(crop, 1.5),
    "motion_blur": lambda crop, rng: smeared(crop, 7, rng.uniform(0, 180)),
    "small_face": lambda crop, _: at_resolution(crop, 16),
    "off_centre": _askew,
}
"""By name what the report is about: a webcam's contrast; 15 grey levels in all, noise of one; noise of a tenth of the range;
a fifth of the light on one side; blur of 1.5 px and motion of 7 px where eyes are 18 px apart; eyes 6 px apart; off by 4 px,
12 degrees and a tenth of the size."""


def degraded(crops: np.ndarray, degradation: Degradation, *, equalised: bool = True) -> np.ndarray:
    """Crops uint8 (n, 48, 48) degraded and then equalised, as the live path does."""
    rng = np.random.default_rng(SEED)
    worse = [degradation(crop, rng) for crop in crops]
    return np.stack([cv2.equalizeHist(crop) for crop in worse] if equalised else worse)


def accuracy_under(predict: Callable[[np.ndarray], np.ndarray], crops: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    """The share of crops uint8 (n, 48, 48) whose class int (n,) `predict` tells right, as "accuracy_under_" + what.

    For each of `DEGRADATIONS`, and for low contrast without the equalisation that the live path does.
    """

    def accuracy(worse: np.ndarray) -> float:
        return float((predict(worse) == classes).mean())

    found = {name: accuracy(degraded(crops, degradation)) for name, degradation in DEGRADATIONS.items()}
    found["low_contrast_not_equalised"] = accuracy(degraded(crops, DEGRADATIONS["low_contrast"], equalised=False))
    return {f"accuracy_under_{name}": value for name, value in found.items()}


def _uint8(picture: np.ndarray) -> np.ndarray:
    """What OpenCV gives for a uint8 picture, typed."""
    return picture.astype(np.uint8, copy=False)
