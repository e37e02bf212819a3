"""Judges a model's reading of words on a file laid out as CMU-MOSI (sentiment) or as MELD (emotions)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from operators.datasets.mosi import as_written
from operators.evaluation.as_segments import BATCH, NOTHING_HEARD, emotions_of, judge, text_segment
from operators.evaluation.judgement import JudgedClasses, JudgedSentiment, JudgedSplit
from operators.evaluation.rows import by_split, check_every_class, class_of, read_columns, read_table, sentiment_of
from operators.interface import EMOTIONS, AffectResult
from operators.model import AffectModel
from operators.training.progress import Track, silently
from stream.errors import DatasetError

MOSI_COLUMNS = ("text", "label", "split")
MELD_COLUMNS = ("Utterance", "Emotion")
MELD_ENDING = "_sent_emo"
"""MELD's files are named by their split: dev_sent_emo.csv."""


class LabelledTexts(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One split: texts as the file has them, and of each its `truth`, a sentiment float64 (n,) or an emotion int64 (n,)."""

    sentiment: bool
    texts: list[str]
    truth: np.ndarray


def judge_texts(splits: Mapping[str, LabelledTexts], model: AffectModel, track: Track = silently) -> dict[str, JudgedSplit]:
    """Each split as the model judges it; raises `ModelFolderError` where it reads no text.

    MOSI's texts, capitals without punctuation, are judged as a transcriber would write them, and, as `capitals`, as they
    are.
    """
    return {name: (_mosi_split if s.sentiment else _meld_split)(s, model, track, name) for name, s in splits.items()}


def read_texts(path: Path) -> dict[str, LabelledTexts]:
    """The splits of a file laid out as MOSI or MELD. Raises `DatasetError` that names the line and what is wrong."""
    columns = read_columns(path)
    if set(MELD_COLUMNS) & set(columns):
        return _read_meld(path)
    if set(MOSI_COLUMNS) & set(columns):
        return _read_mosi(path)
    layouts = f"{', '.join(MOSI_COLUMNS)} (MOSI) or {', '.join(MELD_COLUMNS)} (MELD)"
    raise DatasetError(f"table {path}", found=f"columns {', '.join(columns)}", expected=layouts)


def as_transcribed(text: str) -> str:
    """A text of MOSI as a transcriber writes it: lower case, apostrophes, a capital and a full stop."""
    written = as_written(text)
    return written[:1].upper() + written[1:] + "."


def _read_mosi(path: Path) -> dict[str, LabelledTexts]:
    rows = read_table(path, MOSI_COLUMNS)
    texts = [cells["text"] for _, cells in rows]
    truth = np.array([sentiment_of(cells["label"], f"table {path}, line {line}") for line, cells in rows])
    splits = by_split(cells["split"] for _, cells in rows)
    return {
        name: LabelledTexts(sentiment=True, texts=[texts[k] for k in some], truth=truth[some]) for name, some in splits.items()
    }


def _read_meld(path: Path) -> dict[str, LabelledTexts]:
    rows = read_table(path, MELD_COLUMNS)
    texts = [cells["Utterance"].replace("\u0092", "'").replace("’", "'") for _, cells in rows]
    truth = np.array([class_of(cells["Emotion"], EMOTIONS, f"table {path}, line {line}") for line, cells in rows])
    check_every_class({EMOTIONS[k] for k in truth}, EMOTIONS, f"table {path}")
    return {path.stem.removesuffix(MELD_ENDING): LabelledTexts(sentiment=False, texts=texts, truth=truth)}


def _mosi_split(split: LabelledTexts, model: AffectModel, track: Track, name: str) -> JudgedSplit:
    written = [as_transcribed(text) for text in split.texts]
    return JudgedSplit(
        judged=_sentiment(split.truth, _results(written, model, track, name)),
        items=written,
        further={"capitals": _sentiment(split.truth, _results(split.texts, model, track, f"{name}, capitals"))},
    )


def _meld_split(split: LabelledTexts, model: AffectModel, track: Track, name: str) -> JudgedSplit:
    emotions = emotions_of(_results(split.texts, model, track, name))
    judged = JudgedClasses(labels=EMOTIONS, truth=split.truth, probabilities=emotions)
    return JudgedSplit(judged=judged, items=split.texts)


def _results(texts: Sequence[str], model: AffectModel, track: Track, name: str) -> list[AffectResult]:
    chunks = [texts[k : k + BATCH] for k in range(0, len(texts), BATCH)]
    results: list[AffectResult] = []
    for chunk in track(chunks, name):
        results += judge(model, [(text_segment(text), NOTHING_HEARD) for text in chunk], "text")
    return results


def _sentiment(truth: np.ndarray, results: Sequence[AffectResult]) -> JudgedSentiment:
    estimates = [result.sentiment for result in results if result.sentiment is not None]
    values, low, high = (np.array([getattr(e, name) for e in estimates], np.float64) for name in ("value", "low", "high"))
    return JudgedSentiment(truth=truth, predicted=values, low=low, high=high, level=estimates[0].level or 0.0)
