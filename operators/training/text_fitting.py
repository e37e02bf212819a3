"""Fits adapters of the text encoder with the heads on text, for sentiment and emotions at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import lightning
import msgspec
import torch
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional

from operators.datasets.meld import SENTIMENTS
from operators.encoders.adapters import DenseAdapter, DenseName, TextAdapters
from operators.encoders.minilm import DenseCall, Layer, PackedMiniLM, pooled, run
from operators.encoders.text import TEXT_DIM
from operators.evaluation.metrics import weighted_f1
from operators.heads import Head
from operators.interface import EMOTIONS
from operators.training.epochs import CHOSEN_BY, train_epochs
from operators.training.text_rows import TextBatch, TextBatches, TextRows, TextStates

VALIDATED: Final = 64
"""Texts a step of validation."""
UNKNOWN: Final = -1
"""The polarity of an utterance that has none."""
HEAD_DEVIATION: Final = 0.005
"""Of the heads' weights at the start: small, so that what the encoder knows is not torn at first."""


class TextRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """How adapters and heads are trained: chosen on MOSI's valid and MELD's dev rows."""

    epochs: int = 3
    """Times through MELD, most: more learn it by heart."""
    rank: int = 16
    """Of the adapters."""
    first_layer: int = 3
    """The first that is adapted: below it states are computed once, which halves the time."""
    opinions: int = 8
    utterances: int = 32
    """Texts of MOSI and of MELD in a batch: MOSI, an eighth of MELD, is seen about twice as often."""
    learning_rate: float = 1e-3
    """Highest; it rises over the share `warm_up` of the steps and falls evenly to nothing."""
    warm_up: float = 0.06
    weight_decay: float = 0.01
    dropout: float = 0.1
    """Share of what adapted layers add to the states that is left out in a step."""
    head_dropout: float = 0.2
    """Share of the embedding that the heads do not see in a step."""
    plain: float = 0.5
    """Share of the texts that are seen as a transcriber writes them."""
    polarity: tuple[float, float] = (0.5, 0.3)
    """Weight of telling MOSI's and MELD's polarity, which only helps in training, beside 1 of sentiment and emotions each."""
    rarity: float = 0.25
    """Emotions weigh by their frequency to the power of minus this: else seldom ones are hardly ever named."""
    patience: int = 2
    """Epochs without a better sum of both validation losses after which a run ends."""


RECIPE: Final = TextRecipe()


class AdaptedDense(NamedTuple):
    """A packaged dense layer, which stays as it is, with its adapter beside it; `dropout` of the outputs in training."""

    dense: DenseCall
    adapter: DenseAdapter
    dropout: float

    def __call__(self, x: Tensor) -> Tensor:
        """As the dense layer with merged weights computes, but for rounding."""
        outputs = self.dense(x) + self.adapter(x)
        return functional.dropout(outputs, self.dropout) if self.dropout and self.adapter.training else outputs


class AdaptedMiniLM(nn.Module):
    """The layers of the packaged network that have adapters, with these beside them; only adapters are parameters."""

    def __init__(self, network: PackedMiniLM, adapters: TextAdapters, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.adapters = adapters
        self._layers = [
            self._adapted(layer, number, dropout)
            for number, layer in enumerate(network.layers)
            if number >= adapters.first_layer
        ]

    def forward(self, states: Tensor, lengths: Sequence[int]) -> Tensor:
        """Embeddings (n, 384), of length 1, of the states (t, 384) that go into the first adapted layer."""
        return torch.stack(pooled(run(self._layers, states.float(), lengths), lengths))

    def _adapted(self, layer: Layer, number: int, dropout: float) -> Layer:
        def dense(name: DenseName, packaged: DenseCall, share: float = 0.0) -> AdaptedDense:
            adapter = self.adapters.of(number, name)
            assert adapter is not None  # the layer has them all
            return AdaptedDense(packaged, adapter, share)

        return layer._replace(
            projections=dense("projections", layer.projections),
            mixed=dense("mixed", layer.mixed, dropout),
            widened=dense("widened", layer.widened),
            narrowed=dense("narrowed", layer.narrowed, dropout),
        )


class TextTraining(lightning.LightningModule):
    """Adapters and heads under a schedule that rises and falls evenly, on their own data."""

    _weights: Tensor

    def __init__(
        self, network: PackedMiniLM, train: TextRows, valid: TextRows, *, recipe: TextRecipe = RECIPE, seed: int = 0
    ) -> None:
        super().__init__()
        self.encoder = AdaptedMiniLM(network, TextAdapters(recipe.rank, recipe.first_layer), dropout=recipe.dropout)
        self.sentiment = Head(TEXT_DIM, 1, dropout=recipe.head_dropout)
        self.emotion = Head(TEXT_DIM, len(EMOTIONS), dropout=recipe.head_dropout)
        self.polarity = Head(TEXT_DIM, len(SENTIMENTS), dropout=recipe.head_dropout)
        for head in (self.sentiment, self.emotion, self.polarity):
            nn.init.normal_(head.output.weight, std=HEAD_DEVIATION)
            nn.init.zeros_(head.output.bias)
        self.register_buffer("_weights", rarity_weights(train.emotions, recipe.rarity), persistent=False)
        self._train, self._valid, self._recipe, self._seed = train, valid, recipe, seed
        self._judged: list[tuple[Tensor, Tensor]] = []

    def standardise(self) -> None:
        """Sets what the heads take off features and divide them by, as the training's first rows have it."""
        self.eval()
        some = msgspec.structs.replace(
            self._train,
            utterances=TextStates(ways=(self._train.utterances.plain[: len(self._train.sentiment)],)),
            emotions=self._train.emotions[: len(self._train.sentiment)],
            polarities=self._train.polarities[: len(self._train.sentiment)],
        )
        batches = TextBatches(some, opinions=VALIDATED, utterances=VALIDATED)
        with torch.no_grad():
            features = torch.cat([self.encoder(batch.states.to(self.device), batch.lengths) for batch in batches])
        for head in (self.sentiment, self.emotion, self.polarity):
            head.standardise(features)
        self.train()

    def train_dataloader(self) -> TextBatches:
        """The batches of the epoch that begins."""
        recipe, seed = self._recipe, (self._seed, self.current_epoch)
        return TextBatches(self._train, opinions=recipe.opinions, utterances=recipe.utterances, plain=recipe.plain, seed=seed)

    def val_dataloader(self) -> TextBatches:
        """The texts as a transcriber writes them."""
        return TextBatches(self._valid, opinions=VALIDATED, utterances=VALIDATED)

    def on_train_epoch_start(self) -> None:
        """What drops out is a function of the seed and the epoch too."""
        torch.manual_seed(self._seed + 1_000_003 * (self.current_epoch + 1))

    def training_step(self, batch: TextBatch, _index: int) -> Tensor:
        """Mean absolute error of sentiment, and cross entropies of emotions and, where known, of polarities."""
        features = self.encoder(batch.states, batch.lengths)
        opinions, utterances = features.split([len(batch.sentiment), len(batch.emotions)])
        spoken, said = self._recipe.polarity
        loss = (
            functional.l1_loss(self.sentiment(opinions)[:, 0], batch.sentiment)
            + functional.cross_entropy(self.emotion(utterances), batch.emotions, weight=self._weights)
            + spoken * _known_cross_entropy(self.polarity(opinions), polarity_of(batch.sentiment))
            + said * _known_cross_entropy(self.polarity(utterances), batch.polarities)
        )
        self.log("loss", loss.detach(), prog_bar=True)
        return loss

    def validation_step(self, batch: TextBatch, _index: int) -> None:
        """Collects sentiment and emotion logits; a batch has texts of one data set."""
        features = self.encoder(batch.states, batch.lengths)
        if len(batch.sentiment):
            self._judged.append((self.sentiment(features)[:, 0], batch.sentiment))
        else:
            self._judged.append((self.emotion(features), batch.emotions))

    def on_validation_epoch_end(self) -> None:
        """MAE of MOSI, weighted F1 of MELD, and the sum of the losses, by which the best epoch is chosen."""
        judged, self._judged = self._judged, []
        error = torch.cat([(found - truth).abs() for found, truth in judged if found.ndim == 1]).mean()
        logits = torch.cat([found for found, _ in judged if found.ndim > 1])
        truth = torch.cat([truth for found, truth in judged if found.ndim > 1])
        f1 = weighted_f1(truth.cpu().numpy(), logits.argmax(1).cpu().numpy())
        self.log_dict({"mae": error, "weighted_f1": f1}, prog_bar=True)
        self.log(CHOSEN_BY, error + functional.cross_entropy(logits, truth))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW; the learning rate of step k of n."""
        recipe, steps = self._recipe, int(self.trainer.estimated_stepping_batches)
        optimizer = torch.optim.AdamW(self.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)

        def share(step: int) -> float:
            return min(1.0, (step + 1) / max(1.0, recipe.warm_up * steps)) * max(0.0, 1 - step / steps)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return OptimizerLRSchedulerConfig(
            optimizer=optimizer, lr_scheduler=LRSchedulerConfigType(scheduler=schedule, interval="step")
        )


def fit_text(
    network: PackedMiniLM,
    train: TextRows,
    valid: TextRows,
    checkpoints: Path,
    *,
    epochs: int,
    device: str = "cpu",
    seed: int = 0,
    recipe: TextRecipe = RECIPE,
) -> TextTraining:
    """Trains adapters and heads from one seed; those of the best epoch on the valid rows, in evaluation, on the CPU.

    A checkpoint an epoch in the folder `checkpoints` lets a run that was broken off go on to the same end.
    """
    lightning.seed_everything(seed, verbose=False)
    module = TextTraining(network, train, valid, recipe=recipe, seed=seed)
    module.standardise()
    train_epochs(module, checkpoints, epochs=epochs, device=device, patience=recipe.patience)
    return module


def rarity_weights(classes: Tensor, power: float) -> Tensor:
    """Weights float32 (k,) of classes 0 to k - 1 by their frequency in `classes` (n,) to the power of minus `power`."""
    counts = torch.bincount(classes, minlength=len(EMOTIONS)).clamp(min=1).float()
    return (counts.mean() / counts) ** power


def polarity_of(sentiment: Tensor) -> Tensor:
    """Index into MELD's polarities int64 (n,) of sentiments (n,); unknown at 0, which is often a mixed opinion."""
    signs = torch.where(sentiment > 0, SENTIMENTS.index("positive"), SENTIMENTS.index("negative"))
    return torch.where(sentiment == 0, UNKNOWN, signs)


def _known_cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """The mean over rows whose class is known, 0 if none is."""
    total = functional.cross_entropy(logits, classes, ignore_index=UNKNOWN, reduction="sum")
    return total / (classes != UNKNOWN).sum().clamp(min=1)
