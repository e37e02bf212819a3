"""CMU-MOSI: opinions about films with a sentiment in [-3, 3], from the list of its segments."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from stream.errors import DatasetError

FILE = "segments.csv"
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
    with path.open(newline="", encoding="utf-8") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            try:
                text, value, video, of = row["text"], float(row["label"]), row["video"], row["split"]
            except (KeyError, ValueError, TypeError) as error:
                raise DatasetError(f"MOSI list {path}, line {line}", found=f"{type(error).__name__} {error}") from error
            if not -3 <= value <= 3:
                raise DatasetError(f"MOSI list {path}, line {line}", found=f"label {value}", expected="-3 to 3")
            if of == split:
                texts.append(as_written(text))
                sentiment.append(value)
                videos.append(video)
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
