"""The mean of what several seeds trained: one part that costs what one costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import torch
from torch import Tensor

from operators.encoders.adapters import TextAdapters
from operators.heads import Head
from operators.training.text_fitting import TextTraining

MEAN_RANK: Final = 32
"""Rank of the mean of adapters: the sum of their ranks would keep all of it, and be as many times as large."""


class TrainedText(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What is kept of a training."""

    adapters: TextAdapters
    sentiment: Head
    emotion: Head


def kept_of(module: TextTraining) -> TrainedText:
    """What is kept of one."""
    return TrainedText(adapters=module.encoder.adapters, sentiment=module.sentiment, emotion=module.emotion)


@torch.no_grad()
def mean_of(trained: Sequence[TrainedText], rank: int = MEAN_RANK) -> TrainedText:
    """The mean of the changes of each dense layer, of at most this rank, and of the heads; of one that one itself.

    All begin at the same packaged weights, so that their mean lies between them (Wortsman et al., ICML 2022); of its
    singular values the largest are kept.
    """
    first = trained[0]
    if len(trained) == 1:
        return first
    rank = min(rank, sum(one.adapters.rank for one in trained))
    adapters = TextAdapters(rank, first.adapters.first_layer)
    for mean, *changed in zip(adapters, *(one.adapters for one in trained), strict=True):
        change = torch.stack([adapter.change() for adapter in changed]).mean(0)
        left, values, right = torch.linalg.svd(change, full_matrices=False)
        root = values[:rank].sqrt()
        mean.up.copy_(left[:, :rank] * root)
        mean.down.copy_(root[:, None] * right[:rank])
    return TrainedText(
        adapters=adapters,
        sentiment=_mean_head([one.sentiment for one in trained]),
        emotion=_mean_head([one.emotion for one in trained]),
    )


def _mean_head(heads: Sequence[Head]) -> Head:
    states: list[dict[str, Tensor]] = [head.state_dict() for head in heads]
    outputs, inputs = states[0]["output.weight"].shape
    mean = Head(inputs, outputs)
    mean.load_state_dict({name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]})
    return mean.eval()
