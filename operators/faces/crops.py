"""Crops of faces as FER2013 has them: 48 x 48, grey, landmarks in fixed places, histogram-equalised."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

CROP: Final = 48
PLACES: Final = np.array([[15, 19.3], [33, 19.3], [24, 28.8], [17, 35.7], [31, 35.7]], np.float32)
"""Where the five landmarks lie in FER2013's pictures on average."""
EYE_DISTANCE: Final = 18.0
"""Pixels between the eyes of a crop: a picture in which they are nearer has less detail than the crop can hold."""
_WORTH_CONVERTING: Final = 1.15
"""Measured: a crop out of a picture too small by that correlates .99 with one out of the source, by 2 only .975."""


def aligned_crop(rgb: np.ndarray, landmarks: np.ndarray, *, aspect: float) -> np.ndarray:
    """The face at float32 (5, 2) landmarks, shares of a uint8 (h, w, 3) picture's size, as a uint8 (48, 48) crop.

    `aspect` is the width over the height of the source, which the picture may have stretched: the crop has not.
    """
    height, width = rgb.shape[:2]
    unstretched = np.array([height * aspect, height])
    points = landmarks * unstretched
    # Warped at a whole multiple of the crop's size and then averaged down: no aliasing, whatever the face's size.
    enlarged = int(np.clip(np.ceil(_eye_distance(points) / EYE_DISTANCE), 1, 8))
    matrix = similarity(points, PLACES * enlarged)
    matrix[:, :2] *= unstretched / [width, height]
    side = CROP * enlarged
    warped = cv2.warpAffine(rgb, centred(matrix), (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    grey = cv2.cvtColor(warped, cv2.COLOR_RGB2GRAY)
    if enlarged > 1:
        grey = cv2.resize(grey, (CROP, CROP), interpolation=cv2.INTER_AREA)
    crop: np.ndarray = cv2.equalizeHist(grey)
    return crop


def crop_size(landmarks: np.ndarray, picture: tuple[int, int], source: tuple[int, int]) -> tuple[int, int]:
    """The size (width, height) of the picture to crop float32 (n, 5, 2) faces from, found in a picture of that size.

    So large that the smallest face fills its crop, but never beyond the source's own size, which holds no more detail;
    the picture's own size where a larger one would hardly show more.
    """
    if not len(landmarks):
        return picture
    nearest = min(_eye_distance(points) for points in landmarks * np.array(picture, np.float32))
    enlarged = min(EYE_DISTANCE / max(nearest, 1.0), source[0] / picture[0], source[1] / picture[1])
    if enlarged < _WORTH_CONVERTING:
        return picture
    return round(picture[0] * enlarged), round(picture[1] * enlarged)


def _eye_distance(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[1] - points[0]))


def centred(matrix: np.ndarray) -> np.ndarray:
    """A transform float64 (2, 3) of points counted from a picture's edge, for OpenCV, which counts from pixels' middles."""
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
    return shifted


def similarity(points: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The rotation, scale and shift, float64 (2, 3), that bring (n, 2) points nearest to their places."""
    # As complex numbers a similarity is z -> a z + b, and least squares have a closed form.
    source, target = points[:, 0] + 1j * points[:, 1], places[:, 0] + 1j * places[:, 1]
    around = source - source.mean()
    a = np.vdot(around, target) / max(np.vdot(around, around).real, 1e-9)
    b = target.mean() - a * source.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
