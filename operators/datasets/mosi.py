"""CMU-MOSI: opinions about films with a sentiment in [-3, 3], from the list of its segments."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from operators.evaluation.rows import read_table, sentiment_of
from stream.errors import DatasetError

FILE = "segments.csv"
COLUMNS = ("text", "label", "video", "split")
_CONTRACTIONS = re.compile(
    r"\b(?:(do|did|does|was|were|is|are|has|have|had|ca|wo|could|would|should|ai)(nt)"
    r"|(i|you|we|they)(ve|re|ll|d)|(i)(m)|(he|she|it|that|there|what|who)(s)|(could|would|should)(ve))\b"
)
_WORDS_TOO = {"wed", "were", "well", "id", "hell", "shell", "its", "ill"}
"""Words that look like contractions without an apostrophe, and mostly are not."""


class Opinions(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Texts as a transcriber writes them, with `sentiment` float32 (n,) in [-3, 3] and the videos they are from."""

    texts: list[str]
    sentiment: np.ndarray
    videos: list[str]


def read_mosi(folder: Path, split: Literal["train", "valid"]) -> Opinions:
    """One split of MOSI in its own order. Raises `DatasetError` where the list is missing, broken or lacks the split."""
    path = folder / FILE
    if not path.is_file():
        raise DatasetError(f"MOSI in {folder}", found=f"no {FILE}", fix="point --data at the folder that holds it")
    texts, sentiment, videos = [], [], []
    for line, row in read_table(path, COLUMNS):
        value = sentiment_of(row["label"], f"table {path}, line {line}")
        if row["split"] == split:
            texts.append(as_written(row["text"]))
            sentiment.append(value)
            videos.append(row["video"])
    if not texts:
        raise DatasetError(f"MOSI list {path}", found=f"no row of split {split}")
    return Opinions(texts=texts, sentiment=np.array(sentiment, np.float32), videos=videos)


def as_written(text: str) -> str:
    """MOSI's capitals without punctuation as a transcriber writes them: lower case, apostrophes back in contractions."""

    def restore(match: re.Match[str]) -> str:
        if match.group() in _WORDS_TOO:
            return match.group()
        stem, end = (part for part in match.groups() if part)
        return f"{stem}n't" if end == "nt" else f"{stem}'{end}"

    return _CONTRACTIONS.sub(restore, text.lower())
