from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from operators.training import feature_cache
from operators.training.feature_cache import cached_arrays
from operators.training.speech_features import at_gain


def test_features_are_computed_once_until_their_parts_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_cache, "training_cache", lambda: tmp_path)
    made: list[int] = []

    def compute() -> dict[str, np.ndarray]:
        made.append(len(made))
        return {"numbers": np.full((2, 3), len(made), np.float32)}

    assert cached_arrays("test", ("a", b"b"), compute)["numbers"][0, 0] == 1
    assert cached_arrays("test", ("a", b"b"), compute)["numbers"][0, 0] == 1
    assert cached_arrays("test", ("ab", b""), compute)["numbers"][0, 0] == 2
    for path in tmp_path.iterdir():
        path.write_bytes(b"broken")
    assert cached_arrays("test", ("a", b"b"), compute)["numbers"][0, 0] == 3


def test_gain_is_limited_as_a_microphone_is() -> None:
    samples = np.array([-20_000, 100, 20_000], np.int16)
    assert at_gain(samples, 20).tolist() == [-32_768, 1_000, 32_767]
    assert at_gain(samples, 0).tolist() == samples.tolist()
