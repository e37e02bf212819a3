"""MELD: utterances of a television series with one of seven emotions, from its tables."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from operators.interface import EMOTIONS
from stream.errors import DatasetError

SENTIMENTS = ("negative", "neutral", "positive")


class Utterances(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Texts and `emotions` int64 (n,), indices into `EMOTIONS`.

    `sentiments` int64 (n,) are indices into `SENTIMENTS`, -1 where the table has no column of them; `dialogues` int64 (n,)
    number the dialogue of each, without such a column the row. `speakers` are "" without such a column.
    """

    texts: list[str]
    emotions: np.ndarray
    sentiments: np.ndarray
    dialogues: np.ndarray
    speakers: tuple[str, ...] = ()


def read_meld(folder: Path, split: Literal["train", "dev"]) -> Utterances:
    """One split of MELD in its own order. Raises `DatasetError` where the table is missing or broken."""
    path = folder / f"{split}_sent_emo.csv"
    if not path.is_file():
        raise DatasetError(f"MELD in {folder}", found=f"no {path.name}", fix="point --data at the folder that holds it")
    texts, emotions, sentiments, dialogues, speakers = [], [], [], [], []
    with path.open(newline="", encoding="utf-8") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            try:
                text, emotion = row["Utterance"], EMOTIONS.index(row["Emotion"])
                sentiment = SENTIMENTS.index(row["Sentiment"]) if "Sentiment" in row else -1
                dialogue = int(row.get("Dialogue_ID", line))
            except (KeyError, ValueError, TypeError) as error:
                raise DatasetError(f"MELD table {path}, line {line}", found=f"{type(error).__name__} {error}") from error
            texts.append(text.replace("\u0092", "'").replace("’", "'"))
            emotions.append(emotion)
            sentiments.append(sentiment)
            dialogues.append(dialogue)
            speakers.append(row.get("Speaker") or "")
    if not texts:
        raise DatasetError(f"MELD table {path}", found="no row")
    return Utterances(
        texts=texts,
        emotions=np.array(emotions),
        sentiments=np.array(sentiments),
        dialogues=np.array(dialogues),
        speakers=tuple(speakers),
    )
