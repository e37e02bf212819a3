from __future__ import annotations

import numpy as np
import pytest
import torch

from operators.encoders.face import FEATURE_DIM, FaceCropEncoder, FaceNetwork


@pytest.fixture(scope="module")
def encoder() -> FaceCropEncoder:
    torch.manual_seed(0)
    return FaceCropEncoder(FaceNetwork())


def crops(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 48, 48), dtype=np.uint8)


@pytest.mark.parametrize("count", [0, 1, 3, 8, 11])
def test_one_feature_a_crop(encoder: FaceCropEncoder, count: int) -> None:
    features = encoder.infer(crops(count))
    assert features.shape == (count, FEATURE_DIM)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


@pytest.mark.parametrize("count", [2, 3, 4, 6, 8])
def test_a_row_is_byte_equal_whatever_its_neighbours(encoder: FaceCropEncoder, count: int) -> None:
    batch, others = crops(count), crops(count, seed=1)
    others[count // 2] = batch[count // 2]
    assert encoder.infer(batch)[count // 2].tobytes() == encoder.infer(others)[count // 2].tobytes()
    moved = np.roll(batch, 1, axis=0)
    np.testing.assert_array_equal(encoder.infer(moved), np.roll(encoder.infer(batch), 1, axis=0))


def test_shapes_change_only_rounding(encoder: FaceCropEncoder) -> None:
    batch = crops(11)
    alone = np.concatenate([encoder.infer(crop[None]) for crop in batch])
    np.testing.assert_allclose(encoder.infer(batch), alone, atol=1e-4)


def test_small_enough_to_ship() -> None:
    assert sum(p.numel() for p in FaceNetwork().parameters()) < 700_000
