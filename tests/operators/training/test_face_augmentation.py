from __future__ import annotations

import msgspec
import numpy as np
import pytest

from operators.training.face_augmentation import FaceAugmentation, augment

UNCHANGED = FaceAugmentation(angle=0.0, zoom=0.0, shift=0.0, degraded=0.0, equalised=0.0, covered=0.0)


def crops(count: int) -> np.ndarray:
    """Smooth pictures with all grey values, no two alike and none its own mirror image."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(48), np.arange(48))
    waves = [np.sin(x / rng.uniform(3, 9) + rng.uniform(0, 6)) + np.cos(y / rng.uniform(3, 9)) for _ in range(count)]
    return np.stack([((wave - wave.min()) / np.ptp(wave) * 255).astype(np.uint8) for wave in waves])


@pytest.mark.parametrize("size", [32, 44, 48])
def test_an_augmented_face_has_the_side_that_is_asked_for(size: int) -> None:
    rng = np.random.default_rng(0)
    for crop in crops(60):
        kept = crop.copy()
        changed = augment(crop, rng, size, FaceAugmentation())
        assert changed.shape == (size, size)
        assert changed.dtype == np.uint8
        assert np.ptp(changed) > 0
        np.testing.assert_array_equal(crop, kept)


def test_with_nothing_to_change_a_face_is_itself_or_its_mirror_image() -> None:
    rng, found = np.random.default_rng(0), []
    for crop in crops(40):
        changed = augment(crop, rng, 48, UNCHANGED)
        found.append(np.array_equal(changed, crop))
        assert found[-1] or np.array_equal(changed, crop[:, ::-1])
    assert 10 < sum(found) < 30


def test_the_same_generator_gives_the_same_faces() -> None:
    some = crops(20)
    one, two, other = (
        [augment(crop, rng, 40, FaceAugmentation()) for crop in some]
        for rng in (np.random.default_rng(1), np.random.default_rng(1), np.random.default_rng(2))
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_a_covered_face_has_a_grey_square() -> None:
    settings = msgspec.structs.replace(UNCHANGED, covered=1.0)
    rng = np.random.default_rng(0)
    white = np.full((48, 48), 255, np.uint8)
    shares = [(augment(white, rng, 48, settings) == 128).mean() for _ in range(50)]
    assert min(shares) > 0
    assert max(shares) <= 0.34**2


@pytest.mark.parametrize("degraded", [0.0, 1.0])
def test_the_share_of_degraded_faces_is_what_is_set(degraded: float) -> None:
    settings = msgspec.structs.replace(UNCHANGED, degraded=degraded)
    rng = np.random.default_rng(0)
    for crop in crops(60):
        changed = augment(crop, rng, 48, settings)
        same = np.array_equal(changed, crop) or np.array_equal(changed, crop[:, ::-1])
        assert same == (degraded == 0.0)
