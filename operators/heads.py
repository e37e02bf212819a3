"""Heads: from an encoder's features to emotion logits or sentiment."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """Features float32 (n, d) to float32 (n, k): standardised, a hidden layer where `hidden` is not 0, then linear.

    `mean` and `deviation` (d,) are those of the training features; 0 and 1 leave features as they are.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, inputs: int, outputs: int, *, hidden: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("deviation", torch.ones(inputs))
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(inputs, hidden) if hidden else None
        self.output = nn.Linear(hidden or inputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Logits, or values where there is one output."""
        x = self.dropout((features - self.mean) / self.deviation)
        if self.hidden is not None:
            x = self.dropout(torch.nn.functional.gelu(self.hidden(x)))
        outputs: Tensor = self.output(x)
        return outputs

    def distance(self, features: Tensor) -> Tensor:
        """How far features (n, d) are from the training's: their mean absolute standardised value (n,)."""
        return ((features - self.mean) / self.deviation).abs().mean(1)

    def standardise(self, features: Tensor) -> None:
        """Takes mean and deviation from training features (n, d); a feature that never changes keeps deviation 1."""
        self.mean.copy_(features.mean(0))
        deviation = features.std(0)
        self.deviation.copy_(torch.where(deviation > 1e-6, deviation, 1.0))
