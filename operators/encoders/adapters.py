"""Low-rank adapters of the text encoder: what training changed of its dense layers, small enough to ship beside heads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

DenseName = Literal["projections", "mixed", "widened", "narrowed"]
"""The dense layers of a layer of MiniLM, as operators/encoders/minilm.py names them."""
SHAPES: dict[DenseName, tuple[int, int]] = {
    "projections": (1152, 384),
    "mixed": (384, 384),
    "widened": (1536, 384),
    "narrowed": (384, 1536),
}
"""Outputs and inputs of each."""
LAYERS = 6


class DenseAdapter(nn.Module):
    """The change U D of a dense layer's weights, of rank r: `up` float32 (outputs, r), `down` float32 (r, inputs).

    Begins as no change, `up` being zero. LoRA: Hu et al., ICLR 2022 (with its factor alpha / r inside `up`).
    """

    def __init__(self, outputs: int, inputs: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, inputs) / math.sqrt(inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x: Tensor) -> Tensor:
        """What is added to the dense layer's outputs for x (n, inputs): (n, outputs)."""
        return functional.linear(functional.linear(x, self.down), self.up)

    def change(self) -> Tensor:
        """What is added to the dense layer's weights: (outputs, inputs)."""
        return self.up @ self.down


class TextAdapters(nn.Module):
    """Adapters of all dense layers from the layer `first_layer` on; the layers before it stay as they were packaged."""

    def __init__(self, rank: int, first_layer: int) -> None:
        super().__init__()
        self.rank = rank
        self.first_layer = first_layer
        for layer in range(first_layer, LAYERS):
            dense: dict[str, nn.Module] = {
                name: DenseAdapter(outputs, inputs, rank) for name, (outputs, inputs) in SHAPES.items()
            }
            self.add_module(f"layer{layer}", nn.ModuleDict(dense))

    def of(self, layer: int, name: DenseName) -> DenseAdapter | None:
        """The adapter of one dense layer, None where it has none."""
        if layer < self.first_layer:
            return None
        adapter = self.get_submodule(f"layer{layer}.{name}")
        assert isinstance(adapter, DenseAdapter)  # made above
        return adapter

    def __iter__(self) -> Iterator[DenseAdapter]:
        return (module for module in self.modules() if isinstance(module, DenseAdapter))
