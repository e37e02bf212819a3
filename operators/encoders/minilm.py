"""The network of all-MiniLM-L6-v2 (BERT, post-norm) over packed sequences: texts one after the other, none padded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from operators.encoders.adapters import SHAPES, DenseName, TextAdapters
from operators.encoders.row_shapes import FEWEST_ROWS, filled_rows, row_numbers

_PROBED_ROWS = 200


class DenseCall(Protocol):
    """Rows (t, inputs) to rows (t, outputs)."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Each row on its own."""
        ...


class Dense(NamedTuple):
    """Outputs and inputs as `torch.nn.Linear` has them."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Rows (t, inputs) to rows (t, outputs)."""
        return functional.linear(x, self.weight, self.bias)


class Norm(NamedTuple):
    """Layer normalisation."""

    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        """Rows (t, d) of mean 0 and deviation 1, scaled and moved."""
        return functional.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.epsilon)


class Layer(NamedTuple):
    """One layer: what each token takes from the others of its text, then two dense layers."""

    heads: int
    projections: DenseCall
    """Queries, keys and values at once."""
    mixed: DenseCall
    mixed_norm: Norm
    widened: DenseCall
    narrowed: DenseCall
    narrowed_norm: Norm

    def __call__(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        """States (t, 384) of texts of these lengths, one after the other."""
        projected = self.projections(x).view(len(x), 3, self.heads, -1)
        attended = torch.cat([_attend(text) for text in projected.split(list(lengths))])
        x = self.mixed_norm(x + self.mixed(attended))
        return self.narrowed_norm(x + self.narrowed(functional.gelu(self.widened(x))))


class PackedMiniLM:
    """Token ids of texts to embeddings; without state.

    Whatever lies between tokens of different texts is computed row by row, attention text by text. On most CPUs a row of a
    matrix product is byte-equal however many rows there are (not so below `FEWEST_ROWS`); `rows_stand_alone` says whether
    that held here when it was loaded. Where it did, an embedding does not depend on its neighbours.

    `adapters` are added to its own copy of the packaged weights: neither they nor other networks change.
    """

    def __init__(self, folder: Path, device: torch.device, adapters: TextAdapters | None = None) -> None:
        config = json.loads((folder / "config.json").read_bytes())
        weights = load_file(folder / "model.safetensors", device=str(device))
        epsilon: float = config["layer_norm_eps"]

        def dense(number: int, name: DenseName, *packaged: str) -> Dense:
            parts = [f"encoder.layer.{number}.{part}" for part in packaged]
            weight = torch.cat([weights[f"{part}.weight"] for part in parts])
            adapter = adapters.of(number, name) if adapters is not None else None
            if adapter is not None:
                weight = weight + adapter.change().detach().to(device)
            return Dense(weight, torch.cat([weights[f"{part}.bias"] for part in parts]))

        def norm(name: str) -> Norm:
            return Norm(weights[f"{name}.weight"], weights[f"{name}.bias"], epsilon)

        def layer(number: int) -> Layer:
            return Layer(
                heads=config["num_attention_heads"],
                projections=dense(number, "projections", *(f"attention.self.{part}" for part in ("query", "key", "value"))),
                mixed=dense(number, "mixed", "attention.output.dense"),
                mixed_norm=norm(f"encoder.layer.{number}.attention.output.LayerNorm"),
                widened=dense(number, "widened", "intermediate.dense"),
                narrowed=dense(number, "narrowed", "output.dense"),
                narrowed_norm=norm(f"encoder.layer.{number}.output.LayerNorm"),
            )

        self._device = device
        self._words = weights["embeddings.word_embeddings.weight"]
        # A text alone is all of the first of the two types that BERT tells apart.
        self._places = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
        self._norm = norm("embeddings.LayerNorm")
        self.layers = [layer(number) for number in range(config["num_hidden_layers"])]
        first = self.layers[0]
        probed = (first.projections, first.mixed, first.widened, first.narrowed)
        widths = [inputs for _, inputs in SHAPES.values()]
        self.rows_stand_alone = all(_rows_stand_alone(d, width, device) for d, width in zip(probed, widths, strict=True))

    def __call__(self, texts: Sequence[Sequence[int]]) -> list[Tensor]:
        """Embeddings float32 (384,), one a text (token ids, at least one each): the mean over its tokens, of length 1."""
        lengths = [len(text) for text in texts]
        filling = filled_rows(sum(lengths)) - sum(lengths)
        if filling:
            texts, lengths = [*texts, [0] * filling], [*lengths, filling]
        x = run(self.layers, self.embedded(texts), lengths)
        return pooled(x, lengths)[: len(lengths) - bool(filling)]

    @torch.inference_mode()
    def prepare(self, longest: int) -> None:
        """Runs each number of rows that a text of up to `longest` tokens makes, through one layer: all have its shapes."""
        for rows in row_numbers(longest):
            run(self.layers[:1], self.embedded([[0] * rows]), [rows])

    def embedded(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """What goes into the first layer: float32 (t, 384), the tokens of one text after those of the other."""
        ids = torch.tensor([token for text in texts for token in text], device=self._device)
        places = torch.cat([self._places[: len(text)] for text in texts])
        return self._norm(self._words[ids] + places)


def run(layers: Sequence[Layer], x: Tensor, lengths: Sequence[int]) -> Tensor:
    """States (t, 384) of texts of these lengths through layers, one after the other."""
    for layer in layers:
        x = layer(x, lengths)
    return x


def pooled(states: Tensor, lengths: Sequence[int]) -> list[Tensor]:
    """The mean over each text's states (t, 384), of length 1; one by one, since it is the same only at the same shape."""
    return [functional.normalize(text.mean(0), dim=0) for text in states.split(list(lengths))]


def _attend(projected: Tensor) -> Tensor:
    """What the tokens of one text take from each other: (t, h d) of queries, keys and values (t, 3, h, d)."""
    queries, keys, values = projected.permute(1, 2, 0, 3).unsqueeze(1)
    attended = functional.scaled_dot_product_attention(queries, keys, values)
    return attended[0].transpose(0, 1).flatten(1)


@torch.inference_mode()
def _rows_stand_alone(dense: DenseCall, inputs: int, device: torch.device) -> bool:
    """Whether a row of this layer's output is byte-equal however many rows are computed with it."""
    x = torch.arange(_PROBED_ROWS * inputs, device=device).float().cos().view(_PROBED_ROWS, -1)
    whole = dense(x)
    return all(
        torch.equal(dense(x[first : first + rows]), whole[first : first + rows])
        for first, rows in ((0, FEWEST_ROWS), (5, FEWEST_ROWS + 1), (30, 17), (1, 64), (100, 99))
    )
