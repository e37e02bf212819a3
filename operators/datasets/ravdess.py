"""RAVDESS: actors who speak two sentences in eight emotions; 16 kHz FLAC files listed in `clips.csv`."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import av
import msgspec
import numpy as np

from operators.evaluation.rows import class_of, number_of, read_table
from stream.errors import DatasetError
from stream.timeline.time import SAMPLE_RATE

FILE = "clips.csv"
COLUMNS = ("path", "actor", "emotion")
LABELS = ("neutral", "joy", "sadness", "anger", "surprise", "fear", "disgust", "calm")
"""The eight emotions in the project's words and order; calm, which is published as neutral, comes last."""
_LABEL_OF_EMOTION = {
    "neutral": "neutral",
    "happy": "joy",
    "sad": "sadness",
    "angry": "anger",
    "surprised": "surprise",
    "fearful": "fear",
    "disgust": "disgust",
    "calm": "calm",
}
TRAIN_ACTORS = tuple(range(1, 15))
VALID_ACTORS = tuple(range(15, 19))


class SpokenClip(msgspec.Struct, frozen=True, kw_only=True):
    """One recording: its file, its actor, its emotion as an index into `LABELS`, and its intensity (normal, strong)."""

    path: Path
    actor: int
    emotion: int
    intensity: str = "normal"


def read_ravdess(folder: Path, actors: Collection[int]) -> list[SpokenClip]:
    """The clips of these actors in the order of the list.

    Raises `DatasetError` where the list is missing or broken, a file of it is missing, or an actor has no clip.
    """
    path = folder / FILE
    if not path.is_file():
        raise DatasetError(f"RAVDESS in {folder}", found=f"no {FILE}", fix="point --data at the folder that holds it")
    clips = []
    for line, row in read_table(path, COLUMNS):
        where = f"table {path}, line {line}"
        if (place := Path(os.path.normpath(row["path"]))).is_absolute() or ".." in place.parts:
            raise DatasetError(where, found=f"path {row['path']}", expected="a path inside the list's folder")
        emotion = tuple(_LABEL_OF_EMOTION.values())[class_of(row["emotion"], tuple(_LABEL_OF_EMOTION), where)]
        clip = SpokenClip(
            path=folder / row["path"],
            actor=number_of(row["actor"], "actor", where),
            emotion=LABELS.index(emotion),
            intensity=row.get("intensity") or "normal",
        )
        if clip.actor in actors:
            clips.append(clip)
    absent = sorted(set(actors) - {clip.actor for clip in clips})
    if absent:
        raise DatasetError(
            f"RAVDESS list {path}", found=f"no clip of actor {absent[0]}", expected=f"actors {min(actors)} to {max(actors)}"
        )
    for clip in clips:
        if not clip.path.is_file():
            raise DatasetError(f"RAVDESS list {path}", found=f"no file {clip.path.relative_to(folder)}")
    return clips


def read_samples(path: Path) -> np.ndarray:
    """The samples of a 16 kHz mono file: int16 (n,). Raises `DatasetError` where it holds something else."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            if stream.rate != SAMPLE_RATE or stream.channels != 1:
                found = f"{stream.rate} Hz, {stream.channels} channels"
                raise DatasetError(f"recording {path}", found=found, expected=f"{SAMPLE_RATE} Hz, one channel")
            resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
            frames = [out for frame in container.decode(stream) for out in resampler.resample(frame)]
    except av.FFmpegError as error:
        raise DatasetError(f"recording {path}", found=error.strerror) from error
    except IndexError as error:
        raise DatasetError(f"recording {path}", found="no sound", expected=f"{SAMPLE_RATE} Hz, one channel") from error
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]) if frames else np.zeros(0, np.int16)
