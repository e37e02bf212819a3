"""The text encoder: the packaged all-MiniLM-L6-v2, one embedding a text."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor

from operators.encoders.adapters import TextAdapters
from operators.encoders.minilm import PackedMiniLM
from operators.packaged_weights import MINILM, verified_folder

TEXT_DIM = 384
LONGEST_TOKENS = 128
"""Longer texts are cut: 15 s of speech have about 60 tokens."""
MOST_TOKENS = 512
"""Tokens of texts that are computed together: beyond it a core's arithmetic gets no faster (94 GFLOPS; 62 at one text's)."""
REMEMBERED_TEXTS = 16
"""The newest texts, whose embeddings are kept: a final's text often is its last provisional's."""


class TextEncoder:
    """Texts to embeddings, a pure function of each text. Its weights come with a package: no hub is asked.

    `adapters`, which a model folder may hold, are merged into them here: they cost nothing afterwards.
    """

    feature_dim = TEXT_DIM

    def __init__(self, device: str = "cpu", adapters: TextAdapters | None = None) -> None:
        folder = verified_folder(MINILM)
        self._tokenizer = text_tokenizer()
        self._network = PackedMiniLM(folder, torch.device(device), adapters)
        self._most_tokens = MOST_TOKENS if self._network.rows_stand_alone or torch.device(device).type != "cpu" else 0
        self._known: OrderedDict[str, Tensor] = OrderedDict()
        self._lock = threading.Lock()

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Embeddings float32 (n, 384) on the encoder's device: the mean over each text's tokens, of length 1.

        Texts are computed together where that changes no byte of an embedding, which is checked once; else, on a CPU, one
        by one. A GPU computes them together in any case.
        """
        distinct = list(dict.fromkeys(texts))
        with self._lock:
            found = {text: self._known[text] for text in distinct if text in self._known}
        new = [text for text in distinct if text not in found]
        found |= zip(new, self._embed(new), strict=True)
        with self._lock:
            for text in distinct:
                self._known[text] = found[text]
                self._known.move_to_end(text)
            while len(self._known) > REMEMBERED_TEXTS:
                self._known.popitem(last=False)
        return torch.stack([found[text] for text in texts])

    def prepare(self) -> None:
        """Brings forth what is compiled for each length of a text, so that it does not come while somebody waits."""
        self._network.prepare(LONGEST_TOKENS)

    def _embed(self, texts: list[str]) -> Iterator[Tensor]:
        return itertools.chain.from_iterable(map(self._network, self._packs([self._tokenizer.encode(t).ids for t in texts])))

    def _packs(self, texts: list[list[int]]) -> Iterator[list[list[int]]]:
        """Token ids of texts, in order, in groups of at most so many tokens, of one text at least."""
        pack: list[list[int]] = []
        for ids in texts:
            if pack and sum(map(len, pack)) + len(ids) > self._most_tokens:
                yield pack
                pack = []
            pack.append(ids)
        if pack:
            yield pack


def text_tokenizer() -> Tokenizer:
    """The tokenizer of the packaged weights, with texts cut at `LONGEST_TOKENS`; capitals and accents make no difference."""
    # By its own library: importing transformers takes three seconds and more, for nothing else.
    tokenizer = Tokenizer.from_file(str(verified_folder(MINILM) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST_TOKENS)
    return tokenizer
