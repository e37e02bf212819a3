from __future__ import annotations

import cv2
import numpy as np
import pytest

from operators.evaluation.face_robustness import (
    DEGRADATIONS,
    accuracy_under,
    at_resolution,
    blurred,
    dark,
    degraded,
    displaced,
    dull,
    lit_from_a_side,
    smeared,
)


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    rng = np.random.default_rng(0)
    pictures = [cv2.resize(rng.integers(0, 256, (12, 12), np.uint8), (48, 48)) for _ in range(30)]
    return np.stack([cv2.equalizeHist(picture) for picture in pictures])


def detail(crop: np.ndarray) -> float:
    return float(np.abs(np.diff(crop.astype(float), axis=0)).mean() + np.abs(np.diff(crop.astype(float), axis=1)).mean())


def test_a_point_is_spread_as_far_as_is_said() -> None:
    point = np.zeros((48, 48), np.uint8)
    point[24, 24] = 255
    across = np.arange(48) - 24
    line = np.zeros((48, 48), np.uint8)
    line[:, 24] = 255
    spread = blurred(line, 2.0)[0].astype(float)
    assert np.sqrt((spread * across**2).sum() / spread.sum()) == pytest.approx(2.0, rel=0.05)
    assert (smeared(point, 7, 0.0) > 0).sum(0).nonzero()[0].tolist() == list(range(21, 28))
    assert (smeared(point, 7, 90.0) > 0).sum(1).nonzero()[0].tolist() == list(range(21, 28))
    assert smeared(point, 7, 0.0).sum() == pytest.approx(255, rel=0.05)


def test_a_small_face_loses_detail_and_no_light(crops: np.ndarray) -> None:
    small = at_resolution(crops[0], 12)
    assert small.shape == (48, 48)
    assert detail(small) < 0.9 * detail(crops[0])
    assert small.mean() == pytest.approx(crops[0].mean(), abs=3)
    np.testing.assert_array_equal(at_resolution(crops[0], 48), crops[0])


def test_a_displaced_face_lies_where_it_was_moved(crops: np.ndarray) -> None:
    crop = crops[0]
    np.testing.assert_array_equal(displaced(crop, angle=0, zoom=1, shift=(0, 0)), crop)
    np.testing.assert_array_equal(displaced(crop, angle=0, zoom=1, shift=(0, 0), mirror=True), crop[:, ::-1])
    moved = displaced(crop, angle=0, zoom=1, shift=(3, -2))
    np.testing.assert_array_equal(moved[:-2, 3:], crop[2:, :-3])
    np.testing.assert_allclose(displaced(crop, angle=90, zoom=1, shift=(0, 0)), np.rot90(crop), atol=1)
    assert displaced(crop, angle=5, zoom=1.1, shift=(0, 0), size=32).shape == (32, 32)
    halved = displaced(crop, angle=0, zoom=1, shift=(0, 0), size=24)
    np.testing.assert_allclose(halved, cv2.resize(crop, (24, 24), interpolation=cv2.INTER_LINEAR), atol=2)


def test_light_is_taken_as_is_said(crops: np.ndarray) -> None:
    assert dull(np.array([[0, 100, 255]], np.uint8), 0.4, 70).tolist() == [[70, 110, 172]]
    rng = np.random.default_rng(0)
    grey = np.full((48, 48), 200, np.uint8)
    assert dark(grey, 0.5, 0.0, rng).tolist() == np.full((48, 48), 100).tolist()
    assert dark(grey, 0.5, 5.0, rng).std() == pytest.approx(5.0, rel=0.1)
    assert len(np.unique(dark(crops[0], 0.06, 0.0, rng))) <= 17
    lit = lit_from_a_side(grey, 0.0, 0.8)
    np.testing.assert_allclose(lit[:, 0], 200, atol=1)
    np.testing.assert_allclose(lit[:, -1], 40, atol=1)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_degraded_crops_are_equalised_and_the_same_each_time(crops: np.ndarray, name: str) -> None:
    worse = degraded(crops, DEGRADATIONS[name])
    assert worse.shape == crops.shape
    assert worse.dtype == np.uint8
    assert worse.max(axis=(1, 2)).min() == 255
    np.testing.assert_array_equal(worse, degraded(crops, DEGRADATIONS[name]))
    assert not np.array_equal(worse, crops)


def test_the_report_names_each_degradation(crops: np.ndarray) -> None:
    classes = np.arange(len(crops)) % 3
    report = accuracy_under(lambda worse: np.zeros(len(worse), np.int64), crops, classes)
    assert report.keys() == {f"accuracy_under_{name}" for name in [*DEGRADATIONS, "low_contrast_not_equalised"]}
    assert set(report.values()) == {10 / 30}
