from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from operators.faces.crops import aligned_crop, crop_size
from operators.faces.detection import CenterFaceDetector

PLACES = np.array([[15, 19.3], [33, 19.3], [24, 28.8], [17, 35.7], [31, 35.7]])


def dotted(points: np.ndarray, width: int, height: int, radius: int) -> np.ndarray:
    picture = np.zeros((height, width, 3), np.uint8)
    for x, y in points:
        # Pixel k covers [k, k + 1): OpenCV's circle counts from the middle of the first pixel; 4 bits of fraction.
        cv2.circle(picture, (round((x - 0.5) * 16), round((y - 0.5) * 16)), radius * 16, (255, 255, 255), -1, cv2.LINE_AA, 4)
    return picture


@pytest.mark.parametrize("degrees", [-40, 0, 25])
@pytest.mark.parametrize("scale", [1.0, 2.5, 7.0])
def test_landmarks_come_to_their_places(degrees: float, scale: float) -> None:
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (PLACES - 24) @ turn.T + [410.3, 290.6]
    picture = dotted(points, 800, 600, max(1, round(scale)))
    crop = aligned_crop(picture, (points / [800, 600]).astype(np.float32), aspect=800 / 600)
    assert crop.shape == (48, 48)
    assert crop.dtype == np.uint8
    count, _, _, centres = cv2.connectedComponentsWithStats((crop > 150).astype(np.uint8))
    assert count - 1 == 5
    expected = PLACES - 0.5
    for place in expected:
        assert np.linalg.norm(centres[1:] - place, axis=1).min() < 0.6


def test_a_stretched_picture_gives_the_crop_of_the_source(
    detector: CenterFaceDetector, face: np.ndarray, canvas: Callable[..., np.ndarray]
) -> None:
    source = canvas((face, 320, 240))
    landmarks = detector(cv2.resize(source, (256, 192), interpolation=cv2.INTER_AREA)).landmarks[0]
    stretched = cv2.resize(source, (800, 480), interpolation=cv2.INTER_AREA)
    crops = [aligned_crop(picture, landmarks, aspect=640 / 480).astype(np.float64) for picture in (source, stretched)]
    assert np.corrcoef(crops[0].ravel(), crops[1].ravel())[0, 1] > 0.98


def test_crops_are_equalised_whatever_the_light(
    detector: CenterFaceDetector, face: np.ndarray, canvas: Callable[..., np.ndarray]
) -> None:
    source = canvas((face, 320, 240))
    landmarks = detector(cv2.resize(source, (256, 192), interpolation=cv2.INTER_AREA)).landmarks[0]
    bright = aligned_crop(source, landmarks, aspect=640 / 480)
    dark = aligned_crop((source // 4 + 10).astype(np.uint8), landmarks, aspect=640 / 480)
    assert 65 < bright.std() < 90
    assert 65 < dark.std() < 90
    assert np.corrcoef(bright.ravel(), dark.ravel())[0, 1] > 0.97


def test_small_faces_are_cropped_from_a_larger_picture_but_never_beyond_the_source() -> None:
    def eyes_apart(pixels: float) -> np.ndarray:
        landmarks = np.zeros((1, 5, 2), np.float32)
        landmarks[0, 1, 0] = pixels / 256
        return landmarks

    assert crop_size(eyes_apart(20), (256, 192), (1280, 960)) == (256, 192)
    assert crop_size(eyes_apart(9), (256, 192), (1280, 960)) == (512, 384)
    assert crop_size(np.concatenate([eyes_apart(20), eyes_apart(6)]), (256, 192), (1280, 960)) == (768, 576)
    assert crop_size(eyes_apart(2), (256, 192), (640, 480)) == (640, 480)
    assert crop_size(eyes_apart(2), (256, 256), (1, 1)) == (256, 256)
    assert crop_size(np.zeros((0, 5, 2), np.float32), (256, 192), (640, 480)) == (256, 192)


def test_landmarks_that_coincide_or_lie_outside_still_give_a_crop() -> None:
    picture = np.full((192, 256, 3), 90, np.uint8)
    for landmarks in (np.full((5, 2), 0.5, np.float32), np.array([[-1, 2], [3, 2], [1, 3], [-1, 4], [3, 4]], np.float32)):
        assert aligned_crop(picture, landmarks, aspect=4 / 3).shape == (48, 48)
