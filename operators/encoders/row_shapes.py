"""How many rows a network is given, where their number is a text's or an utterance's length."""

from __future__ import annotations

FEWEST_ROWS = 8
"""Fewer are filled up: a product of fewer than 4 rows is computed in another order."""
_SHARE = 16


def filled_rows(rows: int) -> int:
    """The number of rows, `rows` at least, that so many are filled up to: at most 7 more, or an eighth of them.

    oneDNN compiles each layer for each number of rows and keeps the newest 1024 results, 70 kB a number for a layer of the
    text network: with lengths as they come memory grew by 6 MB an hour for many hours. These are 32 numbers up to 512.
    """
    step = max(FEWEST_ROWS, (1 << max(0, rows - 1).bit_length()) // _SHARE)
    return max(1, -(-rows // step)) * step


def row_numbers(most: int) -> list[int]:
    """The numbers of rows that up to `most` are filled up to, in order: what to run once, so that nothing is compiled later."""
    return sorted({filled_rows(rows) for rows in range(1, most + 1)})
