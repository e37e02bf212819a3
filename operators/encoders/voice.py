"""How something is said, over time: attention over the inner states of the speech encoder, and prosody, as one feature."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from operators.encoders.prosody import PROSODY_DIM
from operators.encoders.row_shapes import filled_rows, row_numbers
from operators.encoders.speech import LAYERS_DIM

REDUCED: Final = 96
"""Principal components that are kept of a block's 1152 numbers: 840 recordings can't tell what more of them would mean."""
WIDTH: Final = 64
HEADS: Final = 4
"""Of attention: each looks for its own moments in a quarter of the width."""
PROSODY_WIDTH: Final = 32
_FAINTEST: Final = 1e-5
"""Least variance over time: its root has a gradient from there on."""


def voice_dim(members: int) -> int:
    """Width of the feature that so many members give."""
    return members * (2 * WIDTH + PROSODY_WIDTH)


class VoicePooling(nn.Module):
    """Attentive statistics of inner states and what becomes of prosody, for one or several members that were trained apart.

    Okabe et al. 2018 (arXiv:1803.10963): mean and deviation over time, weighted by attention. What the members share is
    fitted without labels: the states' `mean` and principal components (`components`, scaled to a variance of one), mean and
    deviation of prosody. A linear head on the members' features side by side is the mean of the members' heads.
    """

    mean: Tensor
    components: Tensor
    prosody_mean: Tensor
    prosody_deviation: Tensor

    def __init__(self, members: int = 1) -> None:
        super().__init__()
        self.members = members
        self.register_buffer("mean", torch.zeros(LAYERS_DIM))
        self.register_buffer("components", torch.zeros(REDUCED, LAYERS_DIM))
        self.register_buffer("prosody_mean", torch.zeros(PROSODY_DIM))
        self.register_buffer("prosody_deviation", torch.ones(PROSODY_DIM))
        self.projection = nn.Linear(REDUCED, members * WIDTH)
        self.attention = nn.Parameter(torch.zeros(members, HEADS, WIDTH))
        self.spoken = nn.Linear(PROSODY_DIM, members * PROSODY_WIDTH)
        self.state_dropout = nn.Dropout(0.0)
        self.prosody_dropout = nn.Dropout(0.0)

    def forward(self, layers: Tensor, prosody: Tensor) -> Tensor:
        """Feature float32 (d,) of an utterance: its blocks of inner states float32 (t, 1152) and its prosody (62,)."""
        heard = torch.arange(filled_rows(len(layers)), device=layers.device) < len(layers)
        filled = functional.pad(layers, (0, 0, 0, len(heard) - len(layers)))
        return self.pool(self.reduce(filled)[None], self.standardise(prosody)[None], heard[None])[0]

    @torch.inference_mode()
    def prepare(self, longest: int) -> None:
        """Runs each number of blocks that an utterance of up to `longest` may have, as `TextEncoder.prepare` does."""
        for rows in row_numbers(longest):
            self(self.mean.new_zeros(rows, LAYERS_DIM), self.mean.new_zeros(PROSODY_DIM))

    def reduce(self, layers: Tensor) -> Tensor:
        """Blocks (..., 1152) by their principal components (..., 96)."""
        return functional.linear(layers - self.mean, self.components)

    def standardise(self, prosody: Tensor) -> Tensor:
        """Prosody (..., 62) by mean and deviation of what was trained on."""
        return (prosody - self.prosody_mean) / self.prosody_deviation

    def pool(self, reduced: Tensor, prosody: Tensor, heard: Tensor) -> Tensor:
        """Features (n, d) of n utterances: reduced blocks (n, t, 96), standardised prosody (n, 62), which are heard (n, t)."""
        states = functional.gelu(self.projection(self.state_dropout(reduced))).unflatten(-1, (self.members, WIDTH))
        scores = torch.einsum("ntmw,mhw->ntmh", states, self.attention)
        weights = scores.masked_fill(~heard[:, :, None, None], -torch.inf).softmax(1).unsqueeze(-1)
        parts = states.unflatten(-1, (HEADS, -1))
        means = (weights * parts).sum(1)
        variances = (weights * parts.square()).sum(1) - means.square()
        statistics = torch.cat([means.flatten(2), variances.clamp(min=_FAINTEST).sqrt().flatten(2)], 2)
        spoken = functional.gelu(self.spoken(self.prosody_dropout(prosody))).unflatten(-1, (self.members, PROSODY_WIDTH))
        return torch.cat([statistics, spoken], 2).flatten(1)

    def fit_shared(self, layers: Tensor, prosody: Tensor) -> None:
        """Takes what the members share from training rows: blocks (b, 1152) and prosody (n, 62)."""
        deviation = layers.std(0) + 1e-3
        standardised = (layers - layers.mean(0)) / deviation
        variances, directions = torch.linalg.eigh(standardised.T @ standardised / len(standardised))
        largest = torch.arange(len(variances) - 1, len(variances) - 1 - REDUCED, -1)
        self.mean.copy_(layers.mean(0))
        self.components.copy_((directions[:, largest] / (variances[largest] + 1e-2).sqrt()).T / deviation)
        self.prosody_mean.copy_(prosody.mean(0))
        self.prosody_deviation.copy_(prosody.std(0) + 1e-6)
