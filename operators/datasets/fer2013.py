"""FER2013: 48x48 grey faces with one of seven emotions, from its arrays in `faces48.npz`."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from operators.interface import EMOTIONS
from stream.errors import DatasetError

FILE = "faces48.npz"
ARRAYS = ("images", "labels", "split", "label_names", "split_names")
EMOTION_OF_LABEL = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "joy",
    "neutral": "neutral",
    "sad": "sadness",
    "surprise": "surprise",
}
"""The data set's names for the published emotions."""


class FaceImages(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Faces with their emotion: `images` uint8 (n, 48, 48), grey; `emotions` int64 (n,), indices into `EMOTIONS`."""

    images: np.ndarray
    emotions: np.ndarray


def read_fer2013(folder: Path, split: Literal["train", "valid"]) -> FaceImages:
    """One split of FER2013 in its own order. Flat pictures (one grey value) are left out: they hold no face.

    Raises `DatasetError` that names the array at fault where the file is missing or none, lacks an array or the split,
    or an array has another shape, kind of number or range.
    """
    path = folder / FILE
    if not path.is_file():
        raise DatasetError(f"FER2013 in {folder}", found=f"no {FILE}", fix="point --data at the folder that holds it")
    what = f"FER2013 file {path}"
    arrays = _arrays(path)
    images, labels, split_of = (arrays[name] for name in ("images", "labels", "split"))
    names = [str(name) for name in arrays["label_names"]]
    splits = [str(name) for name in arrays["split_names"]]
    unknown = sorted(set(names) - set(EMOTION_OF_LABEL))
    if unknown:
        raise DatasetError(what, found=f"label {unknown[0]}", expected=", ".join(EMOTION_OF_LABEL))
    if split not in splits:
        raise DatasetError(what, found=f"splits {', '.join(splits)}", expected=f"a split {split}")
    if images.shape[1:] != (48, 48) or images.dtype != np.uint8:
        raise DatasetError(f"images of {what}", found=f"{images.dtype} {images.shape}", expected="uint8 (n, 48, 48)")
    for name, values, count in (("labels", labels, len(names)), ("split", split_of, len(splits))):
        if values.shape != (len(images),) or not np.issubdtype(values.dtype, np.integer):
            raise DatasetError(
                f"{name} of {what}", found=f"{values.dtype} {values.shape}", expected=f"integers ({len(images)},)"
            )
        outside = values[(values < 0) | (values >= count)]
        if len(outside):
            raise DatasetError(f"{name} of {what}", found=int(outside[0]), expected=f"0 to {count - 1}")
    filled = images.min(axis=(1, 2)) != images.max(axis=(1, 2))
    rows = filled & (split_of == splits.index(split))
    if not rows.any():
        raise DatasetError(f"split {split} of {what}", found="no picture")
    published = np.array([EMOTIONS.index(EMOTION_OF_LABEL[name]) for name in names])
    return FaceImages(images=images[rows], emotions=published[labels[rows]])


def _arrays(path: Path) -> dict[str, np.ndarray]:
    what = f"FER2013 file {path}"
    if not zipfile.is_zipfile(path):
        raise DatasetError(what, found="something else", expected=f"an npz file of {', '.join(ARRAYS)}")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in ARRAYS if name not in file.files]
            if missing:
                raise DatasetError(what, found=f"no array {', '.join(missing)}", expected=", ".join(ARRAYS))
            return {name: file[name] for name in ARRAYS}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError(what, found=f"an array that can't be read ({error})", expected="arrays, no pickle") from error
