"""The network of all-MiniLM-L6-v2 (BERT, post-norm) over packed sequences: texts one after the other, none padded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

FEWEST_ROWS = 8
"""Fewer tokens are filled up: a product of fewer than 4 rows is computed in another order."""
_PROBED_ROWS = 200


class _Dense(NamedTuple):
    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


class _Norm(NamedTuple):
    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.epsilon)


class _Layer(NamedTuple):
    """One layer: what each token takes from the others of its text, then two dense layers."""

    heads: int
    projections: _Dense
    """Queries, keys and values at once."""
    mixed: _Dense
    mixed_norm: _Norm
    widened: _Dense
    narrowed: _Dense
    narrowed_norm: _Norm

    def __call__(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        projected = self.projections(x).view(len(x), 3, self.heads, -1)
        attended = torch.cat([_attend(text) for text in projected.split(list(lengths))])
        x = self.mixed_norm(x + self.mixed(attended))
        return self.narrowed_norm(x + self.narrowed(functional.gelu(self.widened(x))))

    @property
    def dense(self) -> tuple[_Dense, ...]:
        return self.projections, self.mixed, self.widened, self.narrowed


class PackedMiniLM:
    """Token ids of texts to embeddings; without state.

    Whatever lies between tokens of different texts is computed row by row, attention text by text. On most CPUs a row of a
    matrix product is byte-equal however many rows there are (not so below `FEWEST_ROWS`); `rows_stand_alone` says whether
    that held here when it was loaded. Where it did, an embedding does not depend on its neighbours.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        config = json.loads((folder / "config.json").read_bytes())
        weights = load_file(folder / "model.safetensors", device=str(device))
        epsilon: float = config["layer_norm_eps"]

        def dense(name: str) -> _Dense:
            return _Dense(weights[f"{name}.weight"], weights[f"{name}.bias"])

        def norm(name: str) -> _Norm:
            return _Norm(weights[f"{name}.weight"], weights[f"{name}.bias"], epsilon)

        def layer(name: str) -> _Layer:
            parts = [dense(f"{name}.attention.self.{part}") for part in ("query", "key", "value")]
            return _Layer(
                heads=config["num_attention_heads"],
                projections=_Dense(torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])),
                mixed=dense(f"{name}.attention.output.dense"),
                mixed_norm=norm(f"{name}.attention.output.LayerNorm"),
                widened=dense(f"{name}.intermediate.dense"),
                narrowed=dense(f"{name}.output.dense"),
                narrowed_norm=norm(f"{name}.output.LayerNorm"),
            )

        self._device = device
        self._words = weights["embeddings.word_embeddings.weight"]
        # A text alone is all of the first of the two types that BERT tells apart.
        self._places = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
        self._norm = norm("embeddings.LayerNorm")
        self._layers = [layer(f"encoder.layer.{k}") for k in range(config["num_hidden_layers"])]
        self.rows_stand_alone = all(_rows_stand_alone(dense) for dense in self._layers[0].dense)

    def __call__(self, texts: Sequence[Sequence[int]]) -> list[Tensor]:
        """Embeddings float32 (384,), one a text (token ids, at least one each): the mean over its tokens, of length 1."""
        lengths = [len(text) for text in texts]
        filling = max(0, FEWEST_ROWS - sum(lengths))
        if filling:
            lengths.append(filling)
        ids = torch.tensor([*(token for text in texts for token in text), *(0,) * filling], device=self._device)
        places = torch.cat([self._places[:length] for length in lengths])
        x = self._norm(self._words[ids] + places)
        for layer in self._layers:
            x = layer(x, lengths)
        # One by one: a mean over tokens is the same only at the same shape.
        return [functional.normalize(text.mean(0), dim=0) for text in x.split(lengths)[: len(texts)]]


def _attend(projected: Tensor) -> Tensor:
    """What the tokens of one text take from each other: (t, h d) of queries, keys and values (t, 3, h, d)."""
    queries, keys, values = projected.permute(1, 2, 0, 3).unsqueeze(1)
    attended = functional.scaled_dot_product_attention(queries, keys, values)
    return attended[0].transpose(0, 1).flatten(1)


@torch.inference_mode()
def _rows_stand_alone(dense: _Dense) -> bool:
    """Whether a row of this layer's output is byte-equal however many rows are computed with it."""
    count = _PROBED_ROWS * dense.weight.shape[1]
    x = torch.arange(count, device=dense.weight.device).float().cos().view(_PROBED_ROWS, -1)
    whole = dense(x)
    return all(
        torch.equal(dense(x[first : first + rows]), whole[first : first + rows])
        for first, rows in ((0, FEWEST_ROWS), (5, FEWEST_ROWS + 1), (30, 17), (1, 64), (100, 99))
    )
