"""The face weights that ship give their card's figures again, clean and degraded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from operators.datasets.fer2013 import FaceImages, read_fer2013
from operators.encoders.face import FaceCropEncoder, FaceNetwork
from operators.evaluation.face_robustness import DEGRADATIONS, degraded
from operators.evaluation.metrics import expected_calibration_error
from operators.model_description import PartDescription, read_description
from operators.model_folder import DEFAULT_MODEL, PartModules, load_weights


@pytest.fixture(scope="module")
def part() -> PartDescription:
    video = read_description(DEFAULT_MODEL).video
    assert video is not None
    return video


@pytest.fixture(scope="module")
def logits(part: PartDescription) -> Callable[[np.ndarray], np.ndarray]:
    modules = PartModules("video", part)
    load_weights(DEFAULT_MODEL / part.weights, modules)
    modules.eval()
    assert isinstance(modules.encoder, FaceNetwork)
    encoder = FaceCropEncoder(modules.encoder)

    def scores(crops: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            found: np.ndarray = modules.emotion(torch.from_numpy(encoder.infer(crops))).numpy()
        return found

    return scores


@pytest.fixture(scope="module")
def valid(shared_data: Path) -> FaceImages:
    return read_fer2013(shared_data / "fer2013", "valid")


def test_clean_faces(part: PartDescription, logits: Callable[[np.ndarray], np.ndarray], valid: FaceImages) -> None:
    scores = logits(valid.images) / part.emotion.temperature
    probabilities = np.exp(scores - scores.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    right = probabilities.argmax(1) == valid.emotions
    # Another processor rounds in another way, which turns a face in a thousand at most.
    assert right.mean() == pytest.approx(part.metrics["fer2013_valid_accuracy"], abs=0.002)
    low, high = (part.metrics[f"fer2013_valid_calibration_error_{end}"] for end in ("low", "high"))
    assert low - 0.005 <= expected_calibration_error(probabilities.max(1), right) <= high
    assert part.metrics["fer2013_valid_calibration_error"] <= 0.05


@pytest.mark.parametrize("name", ["darkness", "small_face"])
def test_degraded_faces(
    part: PartDescription, logits: Callable[[np.ndarray], np.ndarray], valid: FaceImages, name: str
) -> None:
    right = logits(degraded(valid.images, DEGRADATIONS[name])).argmax(1) == valid.emotions
    assert right.mean() == pytest.approx(part.metrics[f"fer2013_valid_accuracy_under_{name}"], abs=0.002)
