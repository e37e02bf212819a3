"""Fits a head to features that are held in memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from operators.heads import Head
from operators.training.progress import Track, silently

BATCH = 64


def fit_head(
    head: Head,
    features: Tensor,
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    epochs: int,
    learning_rate: float = 3e-3,
    weight_decay: float = 0.1,
    mixup: float = 0.0,
    device: str = "cpu",
    seed: int = 0,
    track: Track = silently,
    title: str = "head",
) -> None:
    """Fits in place, and leaves the head in evaluation, on the CPU.

    `features` float32 (v, n, d) are v variants of n rows, `targets` (n, ...) what `loss(outputs, targets)` compares;
    AdamW on a one-cycle schedule. `mixup` above 0 trains on means of two rows, weighted by Beta(mixup, mixup), which keeps
    a small data set from being learnt by heart.
    """
    random = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # dropout has no generator of its own
    rows = features.reshape(-1, features.shape[-1]).to(device)
    aims = targets.repeat(features.shape[0], *[1] * (targets.ndim - 1)).to(device)
    head.standardise(rows.cpu())
    head.to(device).train()
    batches = max(1, len(rows) // BATCH)
    optimizer = torch.optim.AdamW(head.parameters(), weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=epochs * batches)
    beta = torch.distributions.Beta(mixup, mixup) if mixup else None
    for _ in track(range(epochs), title):
        order = torch.randperm(len(rows), generator=random)
        for k in range(batches):
            batch = order[k * BATCH : (k + 1) * BATCH]
            x, y = rows[batch], aims[batch]
            if beta is not None:
                other = torch.randperm(len(x), generator=random)
                share = beta.sample((len(x), 1)).to(device)
                x, y = share * x + (1 - share) * x[other], share * y + (1 - share) * y[other]
            optimizer.zero_grad()
            loss(head(x), y).backward()
            optimizer.step()
            schedule.step()
    head.cpu().eval()
