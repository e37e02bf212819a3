"""The text encoder: the packaged all-MiniLM-L6-v2, one embedding a text."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

from operators.packaged_weights import MINILM, verified_folder

TEXT_DIM = 384
LONGEST_TOKENS = 128
"""Longer texts are cut: 15 s of speech have about 60 tokens."""


class TextEncoder:
    """Texts to embeddings; stateless. Its weights come with a package: no hub is asked."""

    feature_dim = TEXT_DIM

    def __init__(self, device: str = "cpu") -> None:
        folder = verified_folder(MINILM)
        self._device = torch.device(device)
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        # Not by `from_pretrained`, which draws a progress bar and a report of the pooler that is not used here.
        config = transformers.BertConfig.from_pretrained(folder, local_files_only=True)
        self._network = transformers.BertModel(config, add_pooling_layer=False)
        weights = load_file(folder / "model.safetensors")
        names = self._network.state_dict().keys()
        self._network.load_state_dict({name: weights[name] for name in names})
        self._network.eval().requires_grad_(False).to(self._device)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Embeddings float32 (n, 384) on the encoder's device: the mean over each text's tokens, of length 1.

        On a CPU each text is run alone: a batch saves little, and a text's embedding never depends on its neighbours.
        """
        if self._device.type == "cpu":
            return torch.cat([self._embed([text]) for text in texts])
        return self._embed(list(texts))

    def _embed(self, texts: list[str]) -> Tensor:
        tokens = self._tokenizer(texts, padding=True, truncation=True, max_length=LONGEST_TOKENS, return_tensors="pt")
        tokens = tokens.to(self._device)
        states = self._network(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
        return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1)
