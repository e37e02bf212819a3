"""Judges a model's reading of faces on a file laid out as FER2013's arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from operators.datasets.fer2013 import EMOTION_OF_LABEL, FaceImages, read_splits
from operators.evaluation.as_segments import BATCH, NOTHING_HEARD, emotions_of, face_segment, judge
from operators.evaluation.judgement import JudgedClasses, JudgedSplit
from operators.evaluation.rows import check_every_class
from operators.interface import EMOTIONS
from operators.model import AffectModel
from operators.training.progress import Track, silently
from stream.errors import DatasetError


def judge_faces(splits: Mapping[str, FaceImages], model: AffectModel, track: Track = silently) -> dict[str, JudgedSplit]:
    """Each split as the model judges it: pictures go to the face encoder as they are, as live crops do.

    Raises `ModelFolderError` where the model reads no faces.
    """
    return {name: _judge_split(split, model, track, name) for name, split in splits.items()}


def read_faces(path: Path) -> dict[str, FaceImages]:
    """The splits of the file, with all of their pictures. Raises `DatasetError` that names the array at fault."""
    splits = read_splits(path)
    for name, split in splits.items():
        check_every_class(
            {EMOTIONS[k] for k in split.emotions}, list(EMOTION_OF_LABEL.values()), f"split {name} of file {path}"
        )
    if not splits:
        raise DatasetError(f"file {path}", found="no picture")
    return splits


def _judge_split(split: FaceImages, model: AffectModel, track: Track, name: str) -> JudgedSplit:
    rows = []
    for first in track(range(0, len(split.images), BATCH), name):
        crops = split.images[first : first + BATCH]
        features = model.face_encoder.infer(crops)
        seen = [(face_segment(crop, feature), NOTHING_HEARD) for crop, feature in zip(crops, features, strict=True)]
        rows.append(emotions_of(judge(model, seen, "faces")))
    return JudgedSplit(
        judged=JudgedClasses(labels=EMOTIONS, truth=split.emotions, probabilities=np.concatenate(rows)),
        items=[f"picture {number}" for number in split.numbers],
        pictures=split.images,
    )
