"""Trains the face network with its head on FER2013."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import lightning
import msgspec
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional

from operators.calibration import calibration_error, fit_temperature, reliability
from operators.datasets.fer2013 import FaceImages, read_fer2013
from operators.encoders import face
from operators.encoders.face import FEATURE_DIM, INPUT_SIZE, FaceCropEncoder, FaceNetwork, network_input, normalise
from operators.evaluation.metrics import unweighted_average_recall
from operators.interface import EMOTIONS
from operators.model_description import EmotionHeadDescription, PartDescription, WeightsDescription
from operators.model_folder import ENCODERS, PartModules
from operators.training.assembly import begin_folder, put_part
from operators.training.feature_cache import key_of, training_cache

EPOCHS = 32
BATCH = 128
DULL_CONTRAST, DULL_BRIGHTNESS = 0.4, 70.0
"""Of FER2013's grey values, for pictures with the deviation (about 30) that a camera's have before they are equalised."""


class FaceBatches:
    """Batches of faces in a new order each time it is iterated: uint8 (n, 48, 48), int64 (n,)."""

    def __init__(self, faces: FaceImages, *, shuffle: bool, seed: int = 0) -> None:
        self._images = torch.from_numpy(faces.images)
        self._emotions = torch.from_numpy(faces.emotions)
        self._shuffle = shuffle
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self._images) // BATCH if self._shuffle else -(-len(self._images) // BATCH)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        count = len(self._images)
        order = torch.randperm(count, generator=self._generator) if self._shuffle else torch.arange(count)
        for k in range(len(self)):
            rows = order[k * BATCH : (k + 1) * BATCH]
            yield self._images[rows], self._emotions[rows]


class FaceTraining(lightning.LightningModule):
    """The network and its head under a one-cycle schedule."""

    def __init__(self, *, learning_rate: float = 0.1) -> None:
        super().__init__()
        self.network = FaceNetwork().to(memory_format=torch.channels_last)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(FEATURE_DIM, len(EMOTIONS))
        self._learning_rate = learning_rate

    def forward(self, faces: Tensor) -> Tensor:
        """Logits float32 (n, 7) of faces float32 (n, 1, 36, 36)."""
        logits: Tensor = self.head(self.dropout(self.network(faces)))
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        """Cross entropy of augmented faces, labels smoothed: people agree on two thirds of them."""
        crops, emotions = batch
        loss = functional.cross_entropy(self(augment(normalise(crops))), emotions, label_smoothing=0.1)
        self.log("loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _index: int) -> None:
        """Accuracy on the faces as they are."""
        crops, emotions = batch
        right = (self(network_input(crops)).argmax(1) == emotions).float().mean()
        self.log("accuracy", right, prog_bar=True, batch_size=len(crops))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Stochastic gradient descent, one cycle over all steps; no decay of what normalises."""
        decayed = [p for p in self.parameters() if p.ndim > 1]
        plain = [p for p in self.parameters() if p.ndim <= 1]
        optimizer = torch.optim.SGD(
            [{"params": decayed, "weight_decay": 5e-4}, {"params": plain, "weight_decay": 0.0}],
            lr=self._learning_rate,
            momentum=0.9,
            nesterov=True,
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self._learning_rate, total_steps=int(self.trainer.estimated_stepping_batches), pct_start=0.25
        )
        return OptimizerLRSchedulerConfig(
            optimizer=optimizer, lr_scheduler=LRSchedulerConfigType(scheduler=schedule, interval="step")
        )


def augment(faces: Tensor) -> Tensor:
    """Normalised faces float32 (n, 1, 48, 48) as they could also have looked, (n, 1, 36, 36).

    Mirrored, turned up to 12 degrees, scaled by up to 15 %, moved by up to a tenth; contrast and brightness changed,
    a quarter of them blurred, half of them with a square of up to a third of the side blanked.
    """
    count, size, device = len(faces), INPUT_SIZE, faces.device

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(count, device=device).uniform_(low, high)

    angle, zoom = uniform(-0.21, 0.21), uniform(0.87, 1.15)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    affine = torch.stack(
        [
            torch.stack([mirror * zoom * angle.cos(), -zoom * angle.sin(), uniform(-0.2, 0.2)], 1),
            torch.stack([mirror * zoom * angle.sin(), zoom * angle.cos(), uniform(-0.2, 0.2)], 1),
        ],
        1,
    )
    grid = functional.affine_grid(affine, [count, 1, size, size], align_corners=False)
    faces = functional.grid_sample(faces, grid, padding_mode="border", align_corners=False)
    blurred = functional.avg_pool2d(faces, 3, stride=1, padding=1, count_include_pad=False)
    faces = torch.where((uniform(0, 1) < 0.25)[:, None, None, None], blurred, faces)
    faces = faces * uniform(0.75, 1.25)[:, None, None, None] + uniform(-0.25, 0.25)[:, None, None, None]
    side = torch.where(uniform(0, 1) < 0.5, uniform(0.1, 0.33), 0.0) * size
    left, top = uniform(0, size), uniform(0, size)
    along = torch.arange(size, device=device)
    across = (along >= left[:, None]) & (along < (left + side)[:, None])
    down = (along >= top[:, None]) & (along < (top + side)[:, None])
    blank = (down[:, :, None] & across[:, None, :]).unsqueeze(1)
    return faces.masked_fill(blank, 0.0).contiguous(memory_format=torch.channels_last)


def train_face(
    data: Path,
    output: Path,
    *,
    epochs: int = EPOCHS,
    device: str = "cpu",
    seed: int = 0,
    alone: bool = False,
) -> dict[str, float]:
    """Puts a video part into the model folder `output`; the figures on FER2013's valid rows.

    `data` is FER2013's folder. A run that was broken off goes on after its last whole epoch. Raises `DatasetError` where
    something of the data is missing.
    """
    train, valid = read_fer2013(data, "train"), read_fer2013(data, "valid")
    begin_folder(output, alone=alone)
    made_of = (
        str(epochs),
        str(seed),
        device,
        str(len(train.images)),
        Path(__file__).read_bytes(),
        Path(face.__file__).read_bytes(),
    )
    checkpoints = training_cache() / f"face-{key_of(*made_of)}"
    module = fit_face(train, valid, checkpoints, epochs=epochs, device=device, seed=seed)
    metrics = put_face_part(output, module, valid, command=f"affectstream train face --epochs {epochs} --seed {seed}")
    shutil.rmtree(checkpoints, ignore_errors=True)
    return metrics


def fit_face(
    train: FaceImages, valid: FaceImages, checkpoints: Path, *, epochs: int, device: str = "cpu", seed: int = 0
) -> FaceTraining:
    """Trains the network and its head; a checkpoint an epoch in the folder `checkpoints` lets a broken run go on."""
    lightning.seed_everything(seed, verbose=False)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="gpu" if device.startswith("cuda") else device,
        devices=1,
        logger=False,
        enable_model_summary=False,
        callbacks=[ModelCheckpoint(checkpoints, filename="face", save_last=True), TQDMProgressBar(refresh_rate=10)],
    )
    last = checkpoints / "last.ckpt"
    module = FaceTraining()
    trainer.fit(
        module,
        FaceBatches(train, shuffle=True, seed=seed),
        FaceBatches(valid, shuffle=False),
        ckpt_path=last if last.is_file() else None,
    )
    return module


def put_face_part(output: Path, module: FaceTraining, valid: FaceImages, *, command: str) -> dict[str, float]:
    """Calibrates on the valid faces and writes the part; its figures."""
    part = PartDescription(
        encoder=ENCODERS["video"][0],
        weights="face.safetensors",
        emotion=EmotionHeadDescription(labels=EMOTIONS, temperature=1.0, reliability=0.0),
        command=command,
    )
    modules = PartModules("video", part)
    modules.encoder = module.network.cpu()
    modules.emotion.output = module.head.cpu()
    modules.eval()
    truth = torch.from_numpy(valid.emotions)
    encoder = FaceCropEncoder(module.network)

    def logits(crops: np.ndarray) -> Tensor:
        with torch.inference_mode():
            scores: Tensor = modules.emotion(torch.from_numpy(encoder.infer(crops)))
        return scores

    found = logits(valid.images)
    temperature = fit_temperature(found, truth)
    probabilities = (found / temperature).softmax(1)
    dull = (valid.images * DULL_CONTRAST + DULL_BRIGHTNESS).astype(np.uint8)
    predicted = probabilities.argmax(1).numpy()
    metrics = {
        "fer2013_valid_accuracy": float((predicted == valid.emotions).mean()),
        "fer2013_valid_unweighted_recall": unweighted_average_recall(valid.emotions, predicted),
        "fer2013_valid_calibration_error": calibration_error(probabilities, truth),
        "fer2013_valid_accuracy_of_dull_pictures_equalised": _accuracy(logits(equalised(dull)), truth),
        "fer2013_valid_accuracy_of_dull_pictures_as_they_are": _accuracy(logits(dull), truth),
    }
    emotion = EmotionHeadDescription(labels=EMOTIONS, temperature=temperature, reliability=reliability(probabilities, truth))
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


def equalised(crops: np.ndarray) -> np.ndarray:
    """Crops uint8 (n, 48, 48) with their grey values spread evenly, as live crops are."""
    return np.stack([cv2.equalizeHist(crop) for crop in crops])


def _accuracy(logits: Tensor, truth: Tensor) -> float:
    return float((logits.argmax(1) == truth).float().mean())
