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


_UNNUMBERED = np.zeros(0, np.int64)


class FaceImages(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Faces with their emotion: `images` uint8 (n, 48, 48), grey; `emotions` int64 (n,), indices into `EMOTIONS`.

    `numbers` int64 (n,) are their rows in the file, none where they are of no file.
    """

    images: np.ndarray
    emotions: np.ndarray
    numbers: np.ndarray = _UNNUMBERED


def read_fer2013(folder: Path, split: Literal["train", "valid"]) -> FaceImages:
    """One split of FER2013 in its own order. Flat pictures (one grey value) are left out: they hold no face.

    Raises `DatasetError` where the file is missing, has no picture of the split, or as `read_splits` does.
    """
    path = folder / FILE
    if not path.is_file():
        raise DatasetError(f"FER2013 in {folder}", found=f"no {FILE}", fix="point --data at the folder that holds it")
    faces = read_splits(path).get(split)
    if faces is None:
        raise DatasetError(f"split {split} of file {path}", found="no picture")
    filled = np.flatnonzero(faces.images.min(axis=(1, 2)) != faces.images.max(axis=(1, 2)))
    if not len(filled):
        raise DatasetError(f"split {split} of file {path}", found="no picture that is not flat")
    return FaceImages(images=faces.images[filled], emotions=faces.emotions[filled], numbers=faces.numbers[filled])


def read_splits(path: Path) -> dict[str, FaceImages]:
    """The splits of a file laid out as FER2013's that have pictures, with all of them.

    Raises `DatasetError` that names the array at fault where the file is none, lacks one, or it has another shape, kind of
    number or range.
    """
    what = f"file {path}"
    arrays = _arrays(path)
    images, labels, split = (arrays[name] for name in ARRAYS[:3])
    if images.ndim != 3 or images.shape[1:] != (48, 48) or images.dtype != np.uint8:
        raise DatasetError(f"images of {what}", found=f"{images.dtype} {images.shape}", expected="uint8 (n, 48, 48)")
    label_names, split_names = ([str(value) for value in np.atleast_1d(arrays[name])] for name in ARRAYS[3:])
    for name, values, limit in (("labels", labels, len(label_names)), ("split", split, len(split_names))):
        if values.shape != (len(images),) or not np.issubdtype(values.dtype, np.integer):
            raise DatasetError(
                f"{name} of {what}", found=f"{values.dtype} {values.shape}", expected=f"integers ({len(images)},)"
            )
        outside = values[(values < 0) | (values >= limit)]
        if len(outside):
            raise DatasetError(f"{name} of {what}", found=int(outside[0]), expected=f"0 to {limit - 1}")
    unknown = [name for name in label_names if name not in EMOTION_OF_LABEL]
    if unknown:
        raise DatasetError(f"label_names of {what}", found=unknown[0], expected=", ".join(EMOTION_OF_LABEL))
    emotions = np.array([EMOTIONS.index(EMOTION_OF_LABEL[name]) for name in label_names])[labels]
    rows_of = {name: np.flatnonzero(split == number) for number, name in enumerate(split_names)}
    return {
        name: FaceImages(images=images[rows], emotions=emotions[rows], numbers=rows)
        for name, rows in rows_of.items()
        if len(rows)
    }


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
