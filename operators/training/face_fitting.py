"""Fits the face network with its head to faces: the recipe, the batches, the steps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import lightning
import msgspec
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from torch import Tensor, nn
from torch.nn import functional

from operators.datasets.fer2013 import FaceImages
from operators.encoders.face import FEATURE_DIM, INPUT_SIZE, FaceNetwork, network_input, normalise
from operators.interface import EMOTIONS
from operators.training.face_augmentation import FaceAugmentation, augment


class Cycle(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of epochs in which the learning rate rises and falls to almost nothing (Smith and Topin 2018)."""

    until: float
    """Share of all epochs at which it ends."""
    learning_rate: float
    """The highest."""
    sizes: tuple[tuple[float, int], ...]
    """Up to which share of the cycle's epochs pictures have which side in pixels."""
    taught: float = 0.0
    """Share of the labels' weight that goes to what the network itself says as the cycle begins, faces and their mirror
    images averaged (Furlanello et al. 2018, "Born-again neural networks"): a third of FER2013's labels is disputed."""
    weight_decay: float = 5e-4
    dropout: float = 0.2
    """Share of the embedding that the head does not see in a step."""
    augmentation: FaceAugmentation = FaceAugmentation()


class FaceRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """How the face network is trained: chosen for the accuracy that an hour and a half of one core gives."""

    epochs: int = 112
    """Times through the data, each a minute to one and a half of one core."""
    cycles: tuple[Cycle, ...] = (
        Cycle(until=1 / 4, learning_rate=0.1, sizes=((0.4, 32), (0.7, 40), (1.0, INPUT_SIZE))),
        Cycle(until=2 / 4, learning_rate=0.05, sizes=((0.5, 40), (1.0, INPUT_SIZE))),
        Cycle(until=3 / 4, learning_rate=0.05, sizes=((0.5, 40), (1.0, INPUT_SIZE)), taught=0.6),
        Cycle(
            until=1.0,
            learning_rate=0.04,
            sizes=((0.5, 40), (1.0, INPUT_SIZE)),
            taught=0.5,
            weight_decay=1e-4,
            dropout=0.1,
            augmentation=FaceAugmentation(angle=10.0, zoom=0.12, shift=3.5, covered=0.25),
        ),
    )
    """Coarse shapes are learned from small pictures, at half the cost. The first cycle ends in weights that can be used, the
    others begin from them and so wander less far. After three the network knows its own training faces hardly better than
    others (.68 of them, .67 of the valid ones): the last one restrains it less."""
    warm_up: float = 0.2
    """Share of a cycle's steps in which the learning rate rises."""
    momentum: tuple[float, float] = (0.85, 0.95)
    """Where the learning rate is highest, and where it is lowest."""
    batch: int = 128
    """Faces a step."""
    label_smoothing: float = 0.1
    """People agree on two thirds of the labels only."""
    averaging: float = 0.99
    """Share of the averaged weights that stays at an update, so that they reach back 400 steps."""
    averaging_steps: int = 4
    """Steps between two updates of the averaged weights: each step would cost 3 % of the time."""
    patience: float = 0.5
    """Share of all epochs without a better accuracy after which a run ends: the second cycle's first half loses some."""

    def cycle(self, epoch: int, epochs: int) -> tuple[Cycle, int, int]:
        """The cycle of an epoch of so many, the epoch's number in it, and how many the cycle has."""
        first = 0
        for cycle in self.cycles:
            # The last one has an epoch at least, but where there is no other.
            before = min(round(cycle.until * epochs), max(epochs - 1, 1))
            end = epochs if cycle is self.cycles[-1] else before
            if epoch < end:
                return cycle, epoch - first, end - first
            first = end
        raise ValueError(f"epoch {epoch} of {epochs}")

    def size(self, epoch: int, epochs: int) -> int:
        """Side of an epoch's pictures, in pixels."""
        cycle, number, count = self.cycle(epoch, epochs)
        return next(size for share, size in cycle.sizes if (number + 1) / count <= share + 1e-9)


RECIPE = FaceRecipe()


def one_cycle(step: int, steps: int, warm_up: float) -> float:
    """The learning rate at one of a cycle's steps, as a share of the highest: along a cosine from 1/25 up to 1, then to 0."""
    top = warm_up * steps - 1
    if step <= top:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * step / top)) / 2
    return (1 + math.cos(math.pi * (step - top) / (steps - 1 - top))) / 2 if steps - 1 > top else 1.0


class FaceBatches:
    """An epoch's batches, uint8 (n, side, side) and int64 (n,): augmented and in a random order with `augmentation`.

    What is random is a function of the seed and the epoch, so that a run that was broken off goes on as it would have.
    """

    def __init__(
        self,
        faces: FaceImages,
        *,
        batch: int = 128,
        augmentation: FaceAugmentation | None = None,
        size: int = 48,
        seed: tuple[int, int] = (0, 0),
    ) -> None:
        self._faces = faces
        self._batch = batch
        self._augmentation = augmentation
        self._size = size
        self._seed = seed

    def __len__(self) -> int:
        return len(self._faces.images) // self._batch if self._augmentation else -(-len(self._faces.images) // self._batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        rng = np.random.default_rng(self._seed)
        order = np.arange(len(self._faces.images))
        if self._augmentation:
            rng.shuffle(order)
        for k in range(len(self)):
            rows = order[k * self._batch : (k + 1) * self._batch]
            images = self._faces.images[rows]
            if self._augmentation:
                images = np.stack([augment(image, rng, self._size, self._augmentation) for image in images])
            yield torch.from_numpy(images), torch.from_numpy(self._faces.emotions[rows]), torch.from_numpy(rows)


class FaceTraining(lightning.LightningModule):
    """The network and its head, on its own data."""

    def __init__(self, train: FaceImages, valid: FaceImages, *, recipe: FaceRecipe = RECIPE, seed: int = 0) -> None:
        super().__init__()
        self.network = FaceNetwork().to(memory_format=torch.channels_last)
        self.dropout = nn.Dropout(recipe.cycles[0].dropout)
        self.head = nn.Linear(FEATURE_DIM, len(EMOTIONS))
        self._train, self._valid, self._recipe, self._seed = train, valid, recipe, seed
        self.register_buffer("teaching", torch.zeros(len(train.images), len(EMOTIONS)))
        self.teaching: Tensor

    def forward(self, faces: Tensor) -> Tensor:
        """Logits float32 (n, 7) of faces float32 (n, 1, side, side)."""
        logits: Tensor = self.head(self.dropout(self.network(faces)))
        return logits.float()

    def train_dataloader(self) -> FaceBatches:
        """The batches of the epoch that begins."""
        recipe, epoch = self._recipe, self.current_epoch
        epochs = self.trainer.max_epochs or recipe.epochs
        return FaceBatches(
            self._train,
            batch=recipe.batch,
            augmentation=recipe.cycle(epoch, epochs)[0].augmentation,
            size=recipe.size(epoch, epochs),
            seed=(self._seed, epoch),
        )

    def val_dataloader(self) -> FaceBatches:
        """The faces as they are."""
        return FaceBatches(self._valid, batch=self._recipe.batch)

    def on_train_epoch_start(self) -> None:
        """What drops out is a function of the seed and the epoch too."""
        torch.manual_seed(self._seed + 1_000_003 * (self.current_epoch + 1))
        cycle, number, _ = self._recipe.cycle(self.current_epoch, self.trainer.max_epochs or self._recipe.epochs)
        self.dropout.p = cycle.dropout
        if cycle.taught and number == 0:
            self._teach()

    @torch.no_grad()
    def _teach(self) -> None:
        """Takes down what the network says of the faces that it learns from."""
        self.eval()
        for first in range(0, len(self._train.images), 512):
            faces = network_input(torch.from_numpy(self._train.images[first : first + 512])).to(self.device)
            logits = torch.stack([self(faces), self(faces.flip(-1))])
            self.teaching[first : first + 512] = logits.softmax(-1).mean(0)
        self.train()

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _index: int) -> Tensor:
        """Cross entropy of augmented faces, labels smoothed."""
        crops, emotions, rows = batch
        recipe = self._recipe
        cycle, _, _ = recipe.cycle(self.current_epoch, self.trainer.max_epochs or recipe.epochs)
        faces = normalise(crops).contiguous(memory_format=torch.channels_last)
        logits = self(faces)
        loss = functional.cross_entropy(logits, emotions, label_smoothing=recipe.label_smoothing)
        if cycle.taught:
            loss = loss + cycle.taught * (functional.cross_entropy(logits, self.teaching[rows]) - loss)
        self.log("loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], _index: int) -> None:
        """Accuracy on the faces as they are."""
        crops, emotions, _ = batch
        right = (self(network_input(crops)).argmax(1) == emotions).float().mean()
        self.log("accuracy", right, prog_bar=True, batch_size=len(crops))

    def on_train_batch_start(self, _batch: tuple[Tensor, Tensor], index: int) -> None:
        """Sets the learning rate, the momentum and the decay, which are functions of the step alone."""
        recipe, batches = self._recipe, int(self.trainer.num_training_batches)
        cycle, epoch, epochs = recipe.cycle(self.current_epoch, self.trainer.max_epochs or recipe.epochs)
        share = one_cycle(epoch * batches + index, epochs * batches, recipe.warm_up)
        low, high = recipe.momentum
        (optimizer,) = self.trainer.optimizers
        for group in optimizer.param_groups:
            group["lr"], group["momentum"] = cycle.learning_rate * share, high - (high - low) * share
            group["weight_decay"] = cycle.weight_decay * group["decays"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Stochastic gradient descent; no decay of what normalises."""
        recipe = self._recipe
        decayed = [p for p in self.parameters() if p.ndim > 1]
        plain = [p for p in self.parameters() if p.ndim <= 1]
        return torch.optim.SGD(
            [{"params": decayed, "decays": 1.0}, {"params": plain, "decays": 0.0}],
            lr=recipe.cycles[0].learning_rate,
            momentum=recipe.momentum[1],
            nesterov=True,
        )


def fit_face(
    train: FaceImages,
    valid: FaceImages,
    checkpoints: Path,
    *,
    epochs: int,
    device: str = "cpu",
    seed: int = 0,
    recipe: FaceRecipe = RECIPE,
) -> FaceTraining:
    """Trains the network and its head, whose averaged weights it leaves.

    A checkpoint an epoch in the folder `checkpoints` lets a run that was broken off go on. The progress bar keeps a line an
    epoch with the averaged weights' accuracy on the valid faces.
    """
    lightning.seed_everything(seed, verbose=False)
    last, ended = checkpoints / "last.ckpt", checkpoints / "ended"
    module = FaceTraining(train, valid, recipe=recipe, seed=seed)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="gpu" if device.startswith("cuda") else device,
        devices=[torch.device(device).index or 0] if device.startswith("cuda") else 1,
        precision="bf16-mixed" if _computes_bf16(device) else "32-true",
        logger=False,
        enable_model_summary=False,
        reload_dataloaders_every_n_epochs=1,
        callbacks=[
            EMAWeightAveraging(decay=recipe.averaging, update_every_n_steps=recipe.averaging_steps),
            ModelCheckpoint(checkpoints, filename="face", save_last=True, enable_version_counter=False),
            EarlyStopping("accuracy", mode="max", patience=max(1, round(recipe.patience * epochs)), verbose=False),
            TQDMProgressBar(refresh_rate=10, leave=True),
        ],
    )
    # One that ended before its last epoch would go on; of several seeds those before the broken one have ended.
    if not ended.exists():
        trainer.fit(module, ckpt_path=last if last.is_file() else None)
        ended.touch()
    # Where there was nothing left to do above, the module has no weights yet, or those that are not averaged.
    module.load_state_dict(torch.load(last, map_location="cpu", weights_only=True)["state_dict"])
    return module


def _computes_bf16(device: str) -> bool:
    """Whether bfloat16 is faster there, which on a processor takes instructions of its own (measured: by 1.7)."""
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported()
    found = torch.cpu.get_capabilities()
    return device == "cpu" and bool(found.get("avx512_bf16") or found.get("amx_bf16"))
