from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from operators.datasets.fer2013 import FaceImages
from operators.encoders.face import network_input
from operators.evaluation.face_robustness import DEGRADATIONS
from operators.model_description import read_description
from operators.model_folder import load_model
from operators.training import face
from operators.training.assembly import begin_folder
from operators.training.face import put_face_part, train_face
from operators.training.face_fitting import FaceTraining
from stream.errors import DatasetError


def faces(count: int) -> FaceImages:
    """Bright upper or lower halves: two emotions."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 90, (count, 48, 48))
    emotions = np.arange(count) % 2
    images[emotions == 0, :24] += 150
    images[emotions == 1, 24:] += 150
    return FaceImages(images=images.astype(np.uint8), emotions=emotions)


def test_a_trained_network_becomes_a_part_with_its_figures(tmp_path: Path) -> None:
    few = faces(64)
    torch.manual_seed(0)
    module = FaceTraining(few, few)
    seen, truth = network_input(torch.from_numpy(few.images)), torch.from_numpy(few.emotions)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.02, momentum=0.9)
    for norm in (layer for layer in module.modules() if isinstance(layer, torch.nn.BatchNorm2d)):
        norm.momentum = 0.5
    for _ in range(10):
        optimizer.zero_grad()
        functional.cross_entropy(module(seen), truth).backward()
        optimizer.step()
    begin_folder(tmp_path / "model", alone=True)
    metrics = put_face_part(tmp_path / "model", [module], few, command="test")
    assert metrics["fer2013_valid_accuracy"] == 1.0
    assert metrics["fer2013_valid_calibration_error"] < 0.1
    for name in ("accuracy", "unweighted_recall", "calibration_error"):
        value, low, high = (metrics[f"fer2013_valid_{name}{end}"] for end in ("", "_low", "_high"))
        assert low <= value <= high
    assert all(f"fer2013_valid_accuracy_under_{name}" in metrics for name in DEGRADATIONS)
    assert metrics["fer2013_valid_accuracy_under_low_contrast"] == 1.0
    model = load_model(tmp_path / "model")
    part = read_description(tmp_path / "model").video
    assert part is not None
    assert part.metrics == {name: round(value, 4) for name, value in metrics.items()}
    features = torch.from_numpy(model.face_encoder.infer(few.images))
    assert model._video is not None
    with torch.inference_mode():
        probabilities = model._video.emotion.probabilities(features)
    np.testing.assert_array_equal(probabilities.argmax(1), few.emotions)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with 320 pictures whose bright column tells the label; and an empty cache."""
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
    return tmp_path


def seen_by(model: Path) -> np.ndarray:
    return load_model(model).face_encoder.infer(faces(5).images)


def test_a_data_set_becomes_a_model_and_a_second_run_the_same_one(data: Path, tmp_path: Path) -> None:
    figures = [train_face(data, tmp_path / name, epochs=1, alone=True) for name in ("one", "two")]
    assert figures[0] == figures[1]
    np.testing.assert_array_equal(seen_by(tmp_path / "one"), seen_by(tmp_path / "two"))
    assert not any((tmp_path / "cache").iterdir())


def test_of_several_seeds_the_first_is_the_model_and_their_spread_stands_in_its_card(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    beginning = FaceTraining.on_train_epoch_start

    def counted(training: FaceTraining) -> None:
        begun.append(training.current_epoch)
        if len(begun) == 3:
            raise KeyError("power")
        beginning(training)

    alone = {seed: train_face(data, tmp_path / f"seed{seed}", epochs=1, seed=seed, alone=True) for seed in (3, 4)}
    monkeypatch.setattr(FaceTraining, "on_train_epoch_start", counted)
    with pytest.raises(KeyError):
        train_face(data, tmp_path / "both", epochs=1, seeds=3, seed=2, alone=True)
    both = train_face(data, tmp_path / "both", epochs=1, seeds=3, seed=2, alone=True)
    assert len(begun) == 4  # what seeds 2 and 3 had learnt was there
    first = train_face(data, tmp_path / "seed2", epochs=1, seed=2, alone=True)
    np.testing.assert_array_equal(seen_by(tmp_path / "both"), seen_by(tmp_path / "seed2"))
    for name in ("accuracy", "unweighted_recall", "calibration_error"):
        values = [one[f"fer2013_valid_{name}"] for one in (first, alone[3], alone[4])]
        assert both[f"fer2013_valid_{name}"] == values[0]
        assert both[f"fer2013_valid_{name}_mean_of_3_seeds"] == pytest.approx(np.mean(values))
        assert both[f"fer2013_valid_{name}_deviation_of_3_seeds"] == pytest.approx(np.std(values, ddof=1))
    part = read_description(tmp_path / "both").video
    assert part is not None
    assert part.command == "affectstream train face --epochs 1 --seeds 3 --seed 2"
    assert "fer2013_valid_accuracy_mean_of_3_seeds" in (tmp_path / "both" / "card.md").read_text()
    assert not any((tmp_path / "cache").iterdir())


def test_a_split_without_an_emotion_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    labels = np.arange(70, dtype=np.uint8) % 7
    labels[(labels == 1) & (np.arange(70) >= 35)] = 0
    np.savez(
        tmp_path / "faces48.npz",
        images=np.random.default_rng(0).integers(0, 256, (70, 48, 48), np.uint8),
        labels=labels,
        split=(np.arange(70) >= 35).astype(np.uint8),
        label_names=np.array(["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]),
        split_names=np.array(["train", "valid"]),
    )
    with pytest.raises(DatasetError, match=r"valid.*no sample of disgust"):
        train_face(tmp_path, tmp_path / "model")
    assert not (tmp_path / "model").exists()
