"""Trains a module epoch by epoch, so that a run which was broken off goes on to the same end."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar

CHOSEN_BY: Final = "valid_loss"
"""What a module logs of its validation rows, where it has any: the epoch of the least one is kept."""
HIGHEST_GRADIENT: Final = 1.0
"""Norm to which gradients are limited: one odd batch must not undo many."""


def train_epochs(
    module: lightning.LightningModule, checkpoints: Path, *, epochs: int, device: str, patience: int | None
) -> None:
    """Trains a module, which ends in evaluation on the CPU.

    With a `patience` it has the weights of the epoch with the least `valid_loss`, and ends after so many epochs without a
    lesser one; without, it trains all epochs, shows no progress and has the last weights. Each epoch leaves a checkpoint in
    the folder `checkpoints`, better or not, from which a run that was broken off goes on.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # a dozen lines a training, of which there are dozens
    best, last, ended = checkpoints / "best.ckpt", checkpoints / "last.ckpt", checkpoints / "ended"
    callbacks: list[Callback] = [
        ModelCheckpoint(checkpoints, last.stem, save_on_train_epoch_end=True, enable_version_counter=False)
    ]
    if patience is not None:
        callbacks = [
            ModelCheckpoint(
                checkpoints, best.stem, monitor=CHOSEN_BY, save_on_train_epoch_end=True, enable_version_counter=False
            ),
            *callbacks,
            EarlyStopping(CHOSEN_BY, patience=patience),
            TQDMProgressBar(refresh_rate=10),
        ]
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="gpu" if device.startswith("cuda") else device,
        devices=[torch.device(device).index or 0] if device.startswith("cuda") else 1,
        logger=False,
        enable_model_summary=False,
        enable_progress_bar=patience is not None,
        num_sanity_val_steps=0,
        limit_val_batches=1.0 if patience is not None else 0,
        gradient_clip_val=HIGHEST_GRADIENT,
        reload_dataloaders_every_n_epochs=1,
        callbacks=callbacks,
    )
    # One that ended before its last epoch would go on; of several seeds those before the broken one have ended.
    if not ended.exists():
        trainer.fit(module, ckpt_path=last if last.is_file() else None)
        ended.touch()
    kept = best if patience is not None else last
    module.load_state_dict(torch.load(kept, map_location="cpu", weights_only=True)["state_dict"])
    module.cpu().eval()
