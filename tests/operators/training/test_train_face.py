from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from operators.model_folder import load_model
from operators.training import face
from operators.training.face import train_face


def test_a_data_set_becomes_a_model_and_a_second_run_the_same_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face, "training_cache", lambda: tmp_path / "cache")
    labels = np.arange(320, dtype=np.uint8) % 7
    images = np.random.default_rng(0).integers(0, 120, (320, 48, 48), dtype=np.uint8)
    images[np.arange(320), labels * 6] += 120
    np.savez(
        tmp_path / "faces48.npz",
        images=images,
        labels=labels,
        split=(np.arange(320) >= 256).astype(np.uint8),
        label_names=np.array(["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]),
        split_names=np.array(["train", "valid"]),
    )
    figures = [train_face(tmp_path, tmp_path / name, epochs=1, alone=True) for name in ("one", "two")]
    assert figures[0] == figures[1]
    one, two = (load_model(tmp_path / name).face_encoder.infer(images[:5]) for name in ("one", "two"))
    np.testing.assert_array_equal(one, two)
    assert not any((tmp_path / "cache").iterdir())
