from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from operators.heads import Head
from operators.training import feature_cache
from operators.training.feature_cache import cached_features
from operators.training.head_fitting import fit_head
from operators.training.speech_features import at_gain


def test_a_head_learns_a_small_set_by_heart() -> None:
    features = 5 + 3 * torch.randn(1, 64, 20, generator=torch.Generator().manual_seed(0))
    classes = torch.randint(0, 7, (64,), generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)  # what the head begins with must not hang on the tests before
    head = Head(20, 7, hidden=64)
    fit_head(head, features, functional.one_hot(classes, 7).float(), functional.cross_entropy, epochs=150, weight_decay=0.0)
    assert (head(features[0]).argmax(1) == classes).all()


def test_a_head_finds_a_line_and_the_same_one_again() -> None:
    features = torch.randn(2, 300, 5, generator=torch.Generator().manual_seed(0))
    features[1] = features[0]
    target = features[0] @ torch.tensor([[1.0], [-2.0], [0.0], [0.5], [3.0]]) + 1
    heads = []
    for _ in range(2):
        torch.manual_seed(0)
        heads.append(Head(5, 1))
        fit_head(heads[-1], features, target, functional.l1_loss, epochs=60, learning_rate=0.03, weight_decay=0.0)
    assert functional.l1_loss(heads[0](features[0]), target) < 0.05
    torch.testing.assert_close(heads[0].state_dict(), heads[1].state_dict(), rtol=0, atol=0)


def test_features_are_computed_once_until_their_parts_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "training_cache", lambda: tmp_path)
    made: list[int] = []

    def compute() -> np.ndarray:
        made.append(len(made))
        return np.full((2, 3), len(made), np.float32)

    assert cached_features("test", ("a", b"b"), compute)[0, 0] == 1
    assert cached_features("test", ("a", b"b"), compute)[0, 0] == 1
    assert cached_features("test", ("ab", b""), compute)[0, 0] == 2
    for path in tmp_path.iterdir():
        path.write_bytes(b"broken")
    assert cached_features("test", ("a", b"b"), compute)[0, 0] == 3


def test_gain_is_limited_as_a_microphone_is() -> None:
    samples = np.array([-20_000, 100, 20_000], np.int16)
    assert at_gain(samples, 20).tolist() == [-32_768, 1_000, 32_767]
    assert at_gain(samples, 0).tolist() == samples.tolist()
