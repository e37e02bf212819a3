"""Fits what tells emotions from a voice: attention over the speech encoder's inner states and a head, one seed at a time."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import lightning
import msgspec
import torch
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from operators.encoders.voice import VoicePooling, voice_dim
from operators.heads import Head
from operators.training.epochs import CHOSEN_BY, train_epochs
from operators.training.speech_features import VoiceFeatures

SHORTEST: Final = 4
"""Blocks of a part that is trained on: 0.4 s."""


class SpeechRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """How the voice's part is trained: chosen on actors left out."""

    epochs: int = 24
    """Times through the recordings, most."""
    batch: int = 64
    learning_rate: float = 8e-3
    """Highest, of one cycle."""
    weight_decay: float = 0.1
    dropout: float = 0.4
    """Share of the pooled feature, and of prosody, that is left out in a step."""
    state_dropout: float = 0.1
    """Share of the states' components that is left out in a step."""
    mixup: float = 0.3
    """Rows are means of two, weighted by Beta(mixup, mixup), so that 840 recordings are not learnt by heart."""
    smoothing: float = 0.05
    """Of the labels: an actor's emotion is not always what is heard."""
    plain: float = 0.34
    """Share of the rows that are as they were recorded; the others are changed copies."""
    part: float = 0.5
    """Least share of a recording that is heard in a step: live, an utterance is read before its end."""
    whole: float = 0.3
    """Share of the rows that are heard whole."""
    patience: int = 8
    """Epochs without a better validation loss after which a run ends."""


RECIPE: Final = SpeechRecipe()


class VoiceRows(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """v variants of n recordings, the plain one first, as the members' shared part gives them.

    `reduced` float32 (v, n, t, 96) padded, `counts` int64 (v, n) of its blocks, standardised `prosody` float32 (v, n, 62),
    `classes` int64 (n,).
    """

    reduced: Tensor
    counts: Tensor
    prosody: Tensor
    classes: Tensor

    def variant(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Reduced blocks, prosody, and which blocks there are: (n, t, 96), (n, 62), (n, t)."""
        return self.reduced[number], self.prosody[number], _before(self.counts[number], self.reduced.shape[2])


class TrainedVoice(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What one seed gives: its member of the pooling and the linear layer on it."""

    pooling: VoicePooling
    output: nn.Linear


def shared_part(features: VoiceFeatures, rows: Tensor) -> VoicePooling:
    """A member, not trained, with the part that members share, from recordings `rows` int64 (n,) of the features."""
    pooling = VoicePooling()
    blocks = torch.from_numpy(features.layers).split(features.counts.tolist())
    pooling.fit_shared(torch.cat([blocks[row] for row in rows.tolist()]), torch.from_numpy(features.prosody)[rows])
    return pooling


@torch.inference_mode()
def voice_rows(pooling: VoicePooling, variants: Sequence[VoiceFeatures], rows: Tensor, classes: Tensor) -> VoiceRows:
    """The recordings `rows` int64 (n,) of the variants' features; `classes` are of all recordings."""
    longest = max(int(features.counts.max()) for features in variants)
    reduced = torch.zeros(len(variants), len(rows), longest, pooling.components.shape[0])
    for number, features in enumerate(variants):
        blocks = torch.from_numpy(features.layers).split(features.counts.tolist())
        for place, row in enumerate(rows.tolist()):
            reduced[number, place, : len(blocks[row])] = pooling.reduce(blocks[row])
    return VoiceRows(
        reduced=reduced,
        counts=torch.stack([torch.from_numpy(features.counts)[rows] for features in variants]),
        prosody=torch.stack([pooling.standardise(torch.from_numpy(features.prosody)[rows]) for features in variants]),
        classes=classes[rows],
    )


class SpeechTraining(lightning.LightningModule):
    """One member and its linear layer, on its own data."""

    def __init__(
        self,
        pooling: VoicePooling,
        classes: int,
        train: VoiceRows,
        valid: VoiceRows | None,
        *,
        epochs: int,
        seed: int = 0,
        recipe: SpeechRecipe = RECIPE,
    ) -> None:
        super().__init__()
        self.pooling = VoicePooling()
        self.pooling.load_state_dict(
            self.pooling.state_dict() | {name: tensor.clone() for name, tensor in pooling.named_buffers()}
        )
        self.pooling.state_dropout.p, self.pooling.prosody_dropout.p = recipe.state_dropout, recipe.dropout
        self.dropout = nn.Dropout(recipe.dropout)
        self.output = nn.Linear(voice_dim(1), classes)
        self._train, self._valid, self._recipe, self._seed, self._epochs = train, valid, recipe, seed, epochs

    def forward(self, reduced: Tensor, prosody: Tensor, heard: Tensor) -> Tensor:
        """Logits (n, k)."""
        logits: Tensor = self.output(self.dropout(self.pooling.pool(reduced, prosody, heard)))
        return logits

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        """The loss of mixed parts of recordings, plain or changed."""
        rows = batch[0].cpu()
        # What a step draws depends on nothing but seed and number, so that a resumed run goes on to the same end.
        torch.manual_seed(self._seed * 1_000_003 + self.global_step)
        recipe, count = self._recipe, len(rows)
        variants = torch.randint(len(self._train.reduced), (count,))
        variants[torch.rand(count) < recipe.plain] = 0
        reduced, counts = self._train.reduced[variants, rows], self._train.counts[variants, rows]
        prosody = self._train.prosody[variants, rows]
        aims = functional.one_hot(self._train.classes[rows], self.output.out_features).float()
        share = recipe.part + (1 - recipe.part) * torch.rand(count)
        share[torch.rand(count) < recipe.whole] = 1.0
        lengths = (counts * share).long().clamp(min=SHORTEST).minimum(counts)
        starts = (torch.rand(count) * (counts - lengths + 1)).long()
        end = int((starts + lengths).max())
        heard = _before(starts + lengths, end) & ~_before(starts, end)
        reduced = reduced[:, :end] * heard[..., None]
        weight = torch.distributions.Beta(recipe.mixup, recipe.mixup).sample((count,))
        weight, other = weight.maximum(1 - weight), torch.randperm(count)
        reduced = _mixed(reduced, other, weight)
        prosody, aims, heard = _mixed(prosody, other, weight), _mixed(aims, other, weight), heard | heard[other]
        place = self.device
        logits = self(reduced.to(place), prosody.to(place), heard.to(place))
        return functional.cross_entropy(logits, aims.to(place), label_smoothing=recipe.smoothing)

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        """The loss on the validation recordings as they were recorded."""
        assert self._valid is not None  # without them there is no such step
        rows = batch[0].cpu()
        inputs = [tensor[rows].to(self.device) for tensor in self._valid.variant(0)]
        loss = functional.cross_entropy(self(*inputs), self._valid.classes[rows].to(self.device))
        self.log(CHOSEN_BY, loss, batch_size=len(batch[0]), prog_bar=True)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Numbers of rows, in an order of the epoch's own."""
        # Drawn once: a resumed run goes through its loader twice, and one that shuffles would give another order.
        drawn = torch.Generator().manual_seed(self._seed * 10_000 + self.current_epoch)
        rows = TensorDataset(torch.randperm(len(self._train.classes), generator=drawn))
        few = len(rows) < self._recipe.batch
        return DataLoader(rows, self._recipe.batch, drop_last=not few)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]] | list[object]:
        """Numbers of validation rows."""
        if self._valid is None:
            return []
        return DataLoader(TensorDataset(torch.arange(len(self._valid.classes))), len(self._valid.classes))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW on one cycle."""
        optimizer = torch.optim.AdamW(self.parameters(), weight_decay=self._recipe.weight_decay)
        steps = self._epochs * max(1, len(self._train.classes) // self._recipe.batch)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, self._recipe.learning_rate, total_steps=steps)
        return OptimizerLRSchedulerConfig(
            optimizer=optimizer, lr_scheduler=LRSchedulerConfigType(scheduler=cycle, interval="step")
        )


def fit_voice(
    pooling: VoicePooling,
    classes: int,
    train: VoiceRows,
    valid: VoiceRows | None,
    checkpoints: Path,
    *,
    epochs: int,
    device: str = "cpu",
    seed: int = 0,
    recipe: SpeechRecipe = RECIPE,
) -> TrainedVoice:
    """A member trained from `seed` on, in evaluation, on the CPU; with validation rows the epoch of their smallest loss.

    Without them it trains all epochs. A checkpoint an epoch in the folder `checkpoints` lets a run that was broken off go on
    to the same end.
    """
    lightning.seed_everything(seed, verbose=False)
    module = SpeechTraining(pooling, classes, train, valid, epochs=epochs, seed=seed, recipe=recipe)
    train_epochs(module, checkpoints, epochs=epochs, device=device, patience=None if valid is None else recipe.patience)
    return TrainedVoice(pooling=module.pooling, output=module.output)


@torch.inference_mode()
def logits_of(trained: TrainedVoice, rows: VoiceRows, variant: int = 0) -> Tensor:
    """Logits (n, k) of the recordings in a variant."""
    logits: Tensor = trained.output(trained.pooling.pool(*rows.variant(variant)))
    return logits


@torch.inference_mode()
def mean_of(trained: Sequence[TrainedVoice], rows: VoiceRows) -> tuple[VoicePooling, Head]:
    """Members side by side under one linear head, whose logits are the mean of theirs; all trained on the same shared part.

    The head standardises by the plain `rows` that were trained on, and its weights make up for it.
    """
    pooling = VoicePooling(len(trained))
    joined = {name: torch.cat([one.pooling.state_dict()[name] for one in trained]) for name in dict(pooling.named_parameters())}
    pooling.load_state_dict(copy.deepcopy(dict(trained[0].pooling.named_buffers())) | joined)
    head = Head(voice_dim(len(trained)), trained[0].output.out_features)
    head.standardise(pooling.pool(*rows.variant(0)))
    weight = torch.cat([one.output.weight for one in trained], 1) / len(trained)
    bias = torch.stack([one.output.bias for one in trained]).mean(0)
    head.output.weight.copy_(weight * head.deviation)
    head.output.bias.copy_(bias + weight @ head.mean)
    return pooling.eval(), head.eval()


def _mixed(rows: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    share = weight.view(-1, *[1] * (rows.ndim - 1))
    return share * rows + (1 - share) * rows[other]


def _before(ends: Tensor, length: int) -> Tensor:
    """Which of `length` places come before the ends (n,): bool (n, length)."""
    return torch.arange(length) < ends[:, None]
