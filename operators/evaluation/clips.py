"""Labelled clips: a manifest of media files, and what the pipeline said of each as one judgement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from operators.evaluation.judgement import JudgedClasses, JudgedSentiment, JudgedSplit
from operators.evaluation.rows import Row, by_split, class_of, read_columns, read_table, sentiment_of
from operators.interface import EMOTIONS
from stream.errors import DatasetError
from stream.prediction import Result

MEDIA_COLUMNS = ("media", "path")
WHOLE = "clips"
"""The split of a manifest without a column for it."""
SPOKEN = ("utterance", "line")


class LabelledClip(msgspec.Struct, frozen=True, kw_only=True):
    """A media file, its given transcript or None, and its truth: an index into `EMOTIONS` or a sentiment in [-3, 3]."""

    media: Path
    transcript: Path | None
    truth: float
    split: str
    where: str
    """The table and its line, for messages."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The clips in order; `sentiment` says what their truths are."""

    sentiment: bool
    clips: tuple[LabelledClip, ...]


class ClipOpinion(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What was predicted of a clip: emotions float64 (7,) or None, and (value, low, high, level) of the sentiment or None."""

    emotions: np.ndarray | None
    sentiment: tuple[float, float, float, float] | None


def read_manifest(path: Path) -> Manifest:
    """A csv file with the columns media, label, and where wanted transcript and split; paths are relative to its folder.

    Labels are all emotions, or all sentiments. Raises `DatasetError` that names the line.
    """
    columns = read_columns(path)
    media = next((name for name in MEDIA_COLUMNS if name in columns), MEDIA_COLUMNS[0])
    rows = read_table(path, (media, "label"))
    sentiment = rows[0][1]["label"].strip() not in EMOTIONS
    return Manifest(sentiment=sentiment, clips=tuple(_clip(path, row, media, sentiment=sentiment) for row in rows))


def pooled(results: Iterable[Result]) -> ClipOpinion:
    """One opinion out of the revisions of a clip's segments: the mean of the newest ones, weighted by their length.

    Where somebody speaks only what was spoken counts, else all segments.
    """
    newest = {(r.source_epoch, r.lane, r.start_ns): r for r in results if r.lane == "speech" and r.status != "provisional"}
    segments = [r for r in newest.values() if r.emotions is not None]
    segments = [r for r in segments if r.kind in SPOKEN] or segments
    if not segments:
        return ClipOpinion(emotions=None, sentiment=None)
    emotions = np.array([[(r.emotions or {}).get(name, 0.0) for name in EMOTIONS] for r in segments])
    pooled_emotions = np.average(emotions, axis=0, weights=[r.end_ns - r.start_ns for r in segments])
    told = [(r.sentiment, r.end_ns - r.start_ns) for r in segments if r.sentiment is not None]
    if not told:
        return ClipOpinion(emotions=pooled_emotions, sentiment=None)
    parts = [(s.value, -3.0 if s.low is None else s.low, 3.0 if s.high is None else s.high, s.level or 0.0) for s, _ in told]
    value, low, high, level = np.average(parts, axis=0, weights=[length for _, length in told])
    return ClipOpinion(emotions=pooled_emotions, sentiment=(float(value), float(low), float(high), float(level)))


def judged_clips(manifest: Manifest, opinions: Sequence[ClipOpinion]) -> dict[str, JudgedSplit]:
    """Each split of the manifest with what was predicted of its clips, in the manifest's order.

    A clip of which nothing could be said counts as sentiment 0 with no limits, or as equally probable emotions.
    """
    return {
        name: _split([manifest.clips[k] for k in rows], [opinions[k] for k in rows], sentiment=manifest.sentiment)
        for name, rows in by_split(clip.split for clip in manifest.clips).items()
    }


def _split(clips: list[LabelledClip], opinions: list[ClipOpinion], *, sentiment: bool) -> JudgedSplit:
    items = [str(clip.media) for clip in clips]
    truth = [clip.truth for clip in clips]
    if sentiment:
        unanswered = sum(opinion.sentiment is None for opinion in opinions)
        level = max((o.sentiment[3] for o in opinions if o.sentiment is not None), default=0.0)
        rows = np.array([o.sentiment or (0.0, -3.0, 3.0, level) for o in opinions])
        judged = JudgedSentiment(
            truth=np.array(truth), predicted=rows[:, 0], low=rows[:, 1], high=rows[:, 2], level=float(level)
        )
        return JudgedSplit(judged=judged, items=items, counts={"unanswered": unanswered})
    unanswered = sum(opinion.emotions is None for opinion in opinions)
    uniform = np.full(len(EMOTIONS), 1 / len(EMOTIONS))
    probabilities = np.stack([uniform if o.emotions is None else o.emotions for o in opinions]).astype(np.float32)
    classes = JudgedClasses(labels=EMOTIONS, truth=np.array(truth, np.int64), probabilities=probabilities)
    return JudgedSplit(judged=classes, items=items, counts={"unanswered": unanswered})


def _clip(path: Path, row: Row, media: str, *, sentiment: bool) -> LabelledClip:
    line, cells = row
    where = f"table {path}, line {line}"
    label, given = cells["label"].strip(), cells.get("transcript", "").strip()
    if sentiment and label.isalpha():
        raise DatasetError(where, found=f"label {label}", expected=f"-3 to 3, or one of {', '.join(EMOTIONS)}")
    truth = sentiment_of(label, where) if sentiment else float(class_of(label, EMOTIONS, where))
    files = [path.parent / name for name in (cells[media].strip(), given) if name]
    for file in files:
        if not file.is_file():
            raise DatasetError(where, found=f"no file {file}", expected="paths relative to the table's folder")
    split = cells.get("split", "").strip() or WHOLE
    return LabelledClip(media=files[0], transcript=files[1] if given else None, truth=truth, split=split, where=where)
