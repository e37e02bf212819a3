"""Judges a model's reading of faces on a file laid out as FER2013's arrays."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from operators.datasets.fer2013 import EMOTION_OF_LABEL
from operators.evaluation.as_segments import BATCH, NOTHING_HEARD, emotions_of, face_segment, judge
from operators.evaluation.judgement import JudgedClasses, JudgedSplit
from operators.evaluation.rows import check_every_class
from operators.interface import EMOTIONS
from operators.model import AffectModel
from operators.training.progress import Track, silently
from stream.errors import DatasetError

ARRAYS = ("images", "labels", "split", "label_names", "split_names")


class LabelledFaces(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One split: `images` uint8 (n, 48, 48), grey; `emotions` int64 (n,), indices into `EMOTIONS`; `numbers` in the file."""

    images: np.ndarray
    emotions: np.ndarray
    numbers: np.ndarray


def judge_faces(splits: Mapping[str, LabelledFaces], model: AffectModel, track: Track = silently) -> dict[str, JudgedSplit]:
    """Each split as the model judges it: pictures go to the face encoder as they are, as live crops do.

    Raises `ModelFolderError` where the model reads no faces.
    """
    return {name: _judge_split(split, model, track, name) for name, split in splits.items()}


def read_faces(path: Path) -> dict[str, LabelledFaces]:
    """The splits of the file, with all of their pictures. Raises `DatasetError` that names the array at fault."""
    what = f"file {path}"
    arrays = _arrays(path)
    images, labels, split = (arrays[name] for name in ARRAYS[:3])
    if images.ndim != 3 or images.shape[1:] != (48, 48) or images.dtype != np.uint8:
        raise DatasetError(f"images of {what}", found=f"{images.dtype} {images.shape}", expected="uint8 (n, 48, 48)")
    names = {name: [str(value) for value in np.atleast_1d(arrays[name])] for name in ("label_names", "split_names")}
    for name, values, limit in (("labels", labels, len(names["label_names"])), ("split", split, len(names["split_names"]))):
        if values.shape != (len(images),) or not np.issubdtype(values.dtype, np.integer):
            raise DatasetError(
                f"{name} of {what}", found=f"{values.dtype} {values.shape}", expected=f"integers ({len(images)},)"
            )
        outside = values[(values < 0) | (values >= limit)]
        if len(outside):
            raise DatasetError(f"{name} of {what}", found=int(outside[0]), expected=f"0 to {limit - 1}")
    unknown = [name for name in names["label_names"] if name not in EMOTION_OF_LABEL]
    if unknown:
        raise DatasetError(f"label_names of {what}", found=unknown[0], expected=", ".join(EMOTION_OF_LABEL))
    published = [EMOTION_OF_LABEL[name] for name in names["label_names"]]
    emotions = np.array([EMOTIONS.index(name) for name in published])[labels]
    found = {}
    for number, name in enumerate(names["split_names"]):
        rows = np.flatnonzero(split == number)
        if len(rows):
            check_every_class({EMOTIONS[k] for k in emotions[rows]}, published, f"split {name} of {what}")
            found[name] = LabelledFaces(images=images[rows], emotions=emotions[rows], numbers=rows)
    if not found:
        raise DatasetError(what, found="no picture")
    return found


def _arrays(path: Path) -> dict[str, np.ndarray]:
    what = f"file {path}"
    try:
        if not zipfile.is_zipfile(path) and path.is_file():
            raise DatasetError(what, found="something else", expected=f"an npz file of {', '.join(ARRAYS)}")
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in ARRAYS if name not in file.files]
            if missing:
                raise DatasetError(what, found=f"no array {', '.join(missing)}", expected=", ".join(ARRAYS))
            return {name: file[name] for name in ARRAYS}
    except FileNotFoundError as error:
        raise DatasetError(what, found="no such file", fix="check the path") from error
    except OSError as error:
        raise DatasetError(what, found=error.strerror or str(error), expected="an npz file") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError(what, found=f"no array that can be read ({error})", expected="an npz file, no pickle") from error


def _judge_split(split: LabelledFaces, model: AffectModel, track: Track, name: str) -> JudgedSplit:
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
