"""FER2013: 48x48 grey faces with one of seven emotions, from its arrays in `faces48.npz`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from operators.interface import EMOTIONS
from stream.errors import DatasetError

FILE = "faces48.npz"
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

    Raises `DatasetError` where the file is missing, or lacks an array, a label or the split.
    """
    path = folder / FILE
    if not path.is_file():
        raise DatasetError(f"FER2013 in {folder}", found=f"no {FILE}", fix="point --data at the folder that holds it")
    with np.load(path, allow_pickle=False) as arrays:
        missing = {"images", "labels", "split", "label_names", "split_names"} - set(arrays.files)
        if missing:
            raise DatasetError(f"FER2013 file {path}", found=f"no array {', '.join(sorted(missing))}")
        names = [str(name) for name in arrays["label_names"]]
        splits = [str(name) for name in arrays["split_names"]]
        unknown = sorted(set(names) - set(EMOTION_OF_LABEL))
        if unknown:
            raise DatasetError(f"FER2013 file {path}", found=f"label {unknown[0]}", expected=", ".join(EMOTION_OF_LABEL))
        if split not in splits:
            raise DatasetError(f"FER2013 file {path}", found=f"splits {', '.join(splits)}", expected=f"a split {split}")
        rows = arrays["split"] == splits.index(split)
        images, labels = arrays["images"][rows], arrays["labels"][rows]
    if images.shape[1:] != (48, 48) or images.dtype != np.uint8 or len(images) != len(labels):
        raise DatasetError(f"FER2013 file {path}", found=f"{images.dtype} {images.shape}", expected="uint8 (n, 48, 48)")
    published = np.array([EMOTIONS.index(EMOTION_OF_LABEL[name]) for name in names])
    filled = images.min(axis=(1, 2)) != images.max(axis=(1, 2))
    return FaceImages(images=images[filled], emotions=published[labels[filled]])
