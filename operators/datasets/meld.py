"""MELD: utterances of a television series with one of seven emotions, from its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from operators.evaluation.rows import class_of, number_of, read_table
from operators.interface import EMOTIONS
from stream.errors import DatasetError

COLUMNS = ("Utterance", "Emotion")
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
    for line, row in read_table(path, COLUMNS):
        where = f"table {path}, line {line}"
        texts.append(row["Utterance"].replace("\u0092", "'").replace("’", "'"))
        emotions.append(class_of(row["Emotion"], EMOTIONS, where))
        sentiments.append(class_of(row["Sentiment"], SENTIMENTS, where) if "Sentiment" in row else -1)
        dialogues.append(number_of(row["Dialogue_ID"], "dialogue", where) if "Dialogue_ID" in row else line)
        speakers.append(row.get("Speaker", ""))
    return Utterances(
        texts=texts,
        emotions=np.array(emotions),
        sentiments=np.array(sentiments),
        dialogues=np.array(dialogues),
        speakers=tuple(speakers),
    )
