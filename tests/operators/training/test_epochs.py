from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lightning
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from operators.training.epochs import CHOSEN_BY, train_epochs


class BrokenError(Exception):
    pass


class Counting(lightning.LightningModule):
    """Its weight counts the epochs, whose validation losses are given; breaks off in epoch `breaks`."""

    def __init__(self, losses: Sequence[float], breaks: int | None = None) -> None:
        super().__init__()
        self.count = torch.nn.Parameter(torch.zeros(1))
        self.losses, self.breaks, self.trained = losses, breaks, list[int]()

    def training_step(self, _: Tensor) -> Tensor:
        if self.current_epoch == self.breaks:
            raise BrokenError
        self.trained.append(self.current_epoch)
        return -self.count.sum()

    def validation_step(self, _: Tensor) -> None:
        self.log(CHOSEN_BY, self.losses[self.current_epoch])

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(torch.zeros(1))  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Tensor]:
        return self.train_dataloader()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


def trained(module: Counting, folder: Path, patience: int | None) -> int:
    train_epochs(module, folder, epochs=len(module.losses), device="cpu", patience=patience)
    assert not module.training
    return round(module.count.item())  # limiting the gradient rounds it


@pytest.mark.parametrize(
    ("losses", "patience", "kept"),
    [((3, 2, 1, 2, 3), 5, 3), ((1, 2, 3, 4, 5), 5, 1), ((3, 2, 1, 2, 3), None, 5)],
    ids=["better, then worse", "worse each time", "nothing to choose by"],
)
def test_an_interruption_loses_no_whole_epoch_whether_it_was_better_or_not(
    tmp_path: Path, losses: Sequence[float], patience: int | None, kept: int
) -> None:
    assert trained(Counting(losses), tmp_path / "whole", patience) == kept
    with pytest.raises(BrokenError):
        trained(Counting(losses, breaks=4), tmp_path / "broken", patience)
    resumed = Counting(losses)
    assert trained(resumed, tmp_path / "broken", patience) == kept
    assert resumed.trained == [4]


def test_a_training_that_ended_early_stays_ended(tmp_path: Path) -> None:
    losses = (2, 3, 4, 1, 1)  # a fourth epoch would be the best
    first, again = Counting(losses), Counting(losses)
    assert trained(first, tmp_path, 2) == trained(again, tmp_path, 2) == 1
    assert (first.trained, again.trained) == ([0, 1, 2], [])
