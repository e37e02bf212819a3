"""Trains the face network with its head on FER2013."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor

from operators.calibration import fit_temperature, reliability
from operators.datasets.fer2013 import FaceImages, read_fer2013
from operators.encoders import face
from operators.encoders.face import FaceCropEncoder, FaceNetwork
from operators.evaluation.bootstrap import figures_with_intervals, without_intervals
from operators.evaluation.calibration_interval import calibration_figures
from operators.evaluation.face_robustness import accuracy_under
from operators.evaluation.metrics import unweighted_average_recall
from operators.evaluation.rows import check_every_class
from operators.interface import EMOTIONS
from operators.model_description import EmotionHeadDescription, PartDescription, WeightsDescription
from operators.model_folder import ENCODERS, PartModules
from operators.training import face_augmentation, face_fitting
from operators.training.assembly import begin_folder, put_part
from operators.training.cross_fitting import cross_fitted
from operators.training.face_fitting import RECIPE, FaceTraining, fit_face
from operators.training.feature_cache import key_of, training_cache
from operators.training.seeds import seed_figures


def train_face(
    data: Path,
    output: Path,
    *,
    epochs: int = RECIPE.epochs,
    seeds: int = 1,
    device: str = "cpu",
    seed: int = 0,
    alone: bool = False,
) -> dict[str, float]:
    """Puts a video part into the model folder `output`; the figures on FER2013's valid rows.

    Of several `seeds`, from `seed` on, the first one's network is put there (the weights of networks of so many layers have
    no mean that is a network), and mean and deviation of all their figures are among those of the part. `data` is FER2013's
    folder. A run that was broken off goes on after its last whole epoch. Raises `DatasetError` where something of the data is
    missing.
    """
    train, valid = read_fer2013(data, "train"), read_fer2013(data, "valid")
    for split, faces in (("train", train), ("valid", valid)):
        check_every_class({EMOTIONS[k] for k in faces.emotions}, EMOTIONS, f"split {split} of FER2013 in {data}")
    begin_folder(output, alone=alone)
    code = [Path(file).read_bytes() for file in (face.__file__, face_augmentation.__file__, face_fitting.__file__)]
    checkpoints = {
        s: training_cache() / f"face-{key_of(str(epochs), str(s), device, str(len(train.images)), *code)}"
        for s in range(seed, seed + seeds)
    }
    trained = [fit_face(train, valid, kept, epochs=epochs, device=device, seed=s) for s, kept in checkpoints.items()]
    command = f"affectstream train face --epochs {epochs} --seeds {seeds} --seed {seed}"
    metrics = put_face_part(output, trained, valid, command=command)
    for kept in checkpoints.values():
        shutil.rmtree(kept, ignore_errors=True)
    return metrics


def put_face_part(output: Path, trained: Sequence[FaceTraining], valid: FaceImages, *, command: str) -> dict[str, float]:
    """Calibrates the first network on the valid faces and writes the part; its figures, and how they vary over all."""
    part = PartDescription(
        encoder=ENCODERS["video"][0],
        weights="face.safetensors",
        emotion=EmotionHeadDescription(labels=EMOTIONS, temperature=1.0, reliability=0.0),
        command=command,
    )
    modules, *others = (_modules(part, one) for one in trained)
    truth = torch.from_numpy(valid.emotions)
    logits = _reading(modules)
    scores = logits(valid.images)
    temperature = fit_temperature(scores, truth)
    emotion = EmotionHeadDescription(
        labels=EMOTIONS, temperature=temperature, reliability=reliability((scores / temperature).softmax(1), truth)
    )
    robustness = accuracy_under(lambda crops: logits(crops).argmax(1).numpy(), valid.images, valid.emotions)
    figures = _figures(scores, truth) | robustness
    if others:
        own = [scores, *(_reading(other)(valid.images) for other in others)]
        figures |= seed_figures([without_intervals(_figures(one, truth)) for one in own])
    metrics = {f"fer2013_valid_{name}": value for name, value in figures.items()}
    put_part(
        output,
        "video",
        msgspec.structs.replace(part, emotion=emotion, metrics={name: round(value, 4) for name, value in metrics.items()}),
        modules,
        licence=WeightsDescription(
            sha256="0" * 64, licence="FER2013: research use", use="research", data="FER2013 Training (28 698 faces)"
        ),
    )
    return metrics


def _modules(part: PartDescription, trained: FaceTraining) -> PartModules:
    modules = PartModules("video", part)
    modules.encoder = trained.network.cpu()
    modules.emotion.output = trained.head.cpu()
    return modules.eval()


def _reading(modules: PartModules) -> Callable[[np.ndarray], Tensor]:
    """A function of crops uint8 (n, 48, 48) that gives their logits (n, 7), as they are read live."""
    assert isinstance(modules.encoder, FaceNetwork)
    encoder = FaceCropEncoder(modules.encoder)

    def logits(crops: np.ndarray) -> Tensor:
        with torch.inference_mode():
            scores: Tensor = modules.emotion(torch.from_numpy(encoder.infer(crops)))
        return scores

    return logits


def _figures(logits: Tensor, classes: Tensor) -> dict[str, float]:
    """Accuracy, recall and cross-fitted calibration error, each with its 95 % bootstrap interval as NAME_low, NAME_high."""
    truth, probabilities = classes.numpy(), cross_fitted(logits, classes)
    predicted, confidence = probabilities.argmax(1).numpy(), probabilities.max(1).values.numpy()

    def measure(rows: np.ndarray) -> dict[str, float]:
        return {
            "accuracy": float((predicted[rows] == truth[rows]).mean()),
            "unweighted_recall": unweighted_average_recall(truth[rows], predicted[rows]),
        }

    return figures_with_intervals(measure, len(truth)) | calibration_figures(confidence, predicted == truth)
