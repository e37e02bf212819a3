from __future__ import annotations

import numpy as np
import pytest
import torch

from operators.encoders.face import FEATURE_DIM, FaceCropEncoder, FaceNetwork, network_input


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


@pytest.mark.parametrize("count", range(1, 41))
def test_a_row_is_byte_equal_however_many_are_encoded_with_it(encoder: FaceCropEncoder, count: int) -> None:
    batch = crops(40)
    alone = np.concatenate([encoder.infer(crop[None]) for crop in batch])
    together = [encoder.infer(batch[first : first + count]) for first in range(0, len(batch), count)]
    assert (alone > 0).mean() > 0.2
    assert np.concatenate(together).tobytes() == alone.tobytes()


def test_groups_are_encoded_in_the_fewest_calls(encoder: FaceCropEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[int] = []
    network = encoder._network
    monkeypatch.setattr(encoder, "_network", lambda faces: shapes.append(len(faces)) or network(faces))
    for count in (1, 5, 7, 16, 19):
        encoder.infer(crops(count))
    assert shapes == [1, 6, 8, 8, 8, 8, 8, 3]


@pytest.mark.parametrize("count", [2, 3, 4, 6, 8])
def test_a_row_is_byte_equal_whatever_its_neighbours(encoder: FaceCropEncoder, count: int) -> None:
    batch, others = crops(count), crops(count, seed=1)
    others[count // 2] = batch[count // 2]
    assert encoder.infer(batch)[count // 2].tobytes() == encoder.infer(others)[count // 2].tobytes()
    moved = np.roll(batch, 1, axis=0)
    np.testing.assert_array_equal(encoder.infer(moved), np.roll(encoder.infer(batch), 1, axis=0))


def test_what_is_folded_computes_what_was_trained() -> None:
    torch.manual_seed(1)
    network = FaceNetwork()
    for norm in (module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)):
        torch.nn.init.normal_(norm.running_mean)
        torch.nn.init.uniform_(norm.running_var, 0.5, 2.0)
        torch.nn.init.uniform_(norm.weight, 0.5, 2.0)
        torch.nn.init.normal_(norm.bias)
    features = FaceCropEncoder(network).infer(crops(8))
    assert network.training
    with torch.inference_mode():
        expected = network.eval()(network_input(torch.from_numpy(crops(8))))
    assert (expected > 0).float().mean() > 0.2
    torch.testing.assert_close(torch.from_numpy(features), expected, atol=1e-4, rtol=1e-4)


def test_small_enough_to_ship() -> None:
    assert sum(p.numel() for p in FaceNetwork().parameters()) < 1_500_000
