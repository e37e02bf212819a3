"""Tokens of the packaged Moonshine weights: reading its table, and tokens to words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from stream.errors import ModelFolderError

START: Final = 1
END: Final = 2
FIRST_SPECIAL: Final = 32_000
"""From here on the table holds marks of the training, no text."""
_BLOCK = "\u2581".encode()
"""What SentencePiece writes for a space."""


class DecodedWord(NamedTuple):
    """One word and the log-probability of each of its tokens."""

    text: str
    log_probabilities: tuple[float, ...]


def read_tokens(path: Path) -> list[bytes]:
    """The table of a `tokenizer.bin`: per entry a length (two bytes from 128 on), then so many bytes.

    Raises `ModelFolderError` when an entry is cut.
    """
    data = path.read_bytes()
    tokens: list[bytes] = []
    at = 0
    while at < len(data):
        length, at = data[at], at + 1
        if length >= 128:
            length, at = length - 128 + 128 * (data[at] if at < len(data) else len(data)), at + 1
        if at + length > len(data):
            raise ModelFolderError(f"token table {path}", found=f"entry {len(tokens)} cut at the end", expected="whole entries")
        tokens.append(data[at : at + length])
        at += length
    return tokens


def words_of(table: Sequence[bytes], ids: Sequence[int], log_probabilities: Sequence[float]) -> list[DecodedWord]:
    """The words that token ids spell, split at spaces; a token belongs to the word that it begins or goes on with."""
    spelled: list[tuple[bytearray, list[float]]] = []
    for token, log_probability in zip(ids, log_probabilities, strict=True):
        piece = table[token].replace(_BLOCK, b" ")
        if not spelled or piece.startswith(b" "):
            spelled.append((bytearray(), []))
        spelled[-1][0].extend(piece)
        spelled[-1][1].append(log_probability)
    decoded = ((text.decode("utf-8", "replace").strip(), tuple(values)) for text, values in spelled)
    return [DecodedWord(text, values) for text, values in decoded if text]
