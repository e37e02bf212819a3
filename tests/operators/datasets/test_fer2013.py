"""FER2013's file with something wrong in it: one clear line each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from operators.datasets.fer2013 import FILE, read_fer2013
from stream.errors import DatasetError

NAMES = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]


def arrays(**changes: np.ndarray) -> dict[str, np.ndarray]:
    whole = {
        "images": np.random.default_rng(0).integers(0, 256, (14, 48, 48), np.uint8),
        "labels": np.arange(14, dtype=np.uint8) % 7,
        "split": (np.arange(14) >= 7).astype(np.uint8),
        "label_names": np.array(NAMES),
        "split_names": np.array(["train", "valid"]),
    }
    return whole | changes


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"images": np.zeros((14, 48), np.uint8)}, r"uint8 \(14, 48\)"),
        ({"images": np.zeros((14, 48, 48), np.float32)}, "float32"),
        ({"images": np.zeros((13, 48, 48), np.uint8)}, r"\(14,\)"),
        ({"labels": np.full(14, 9)}, "labels.*found 9.*expected 0 to 6"),
        ({"labels": np.full(14, -1)}, "labels.*found -1"),
        ({"labels": np.zeros(14)}, "labels.*float64"),
        ({"split": np.zeros(13, np.uint8)}, r"split.*\(13,\)"),
        ({"split": np.zeros(14, np.uint8)}, "valid.*no picture"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, changes: dict[str, np.ndarray], named: str) -> None:
    np.savez(tmp_path / FILE, **arrays(**changes))
    with pytest.raises(DatasetError, match=named):
        read_fer2013(tmp_path, "valid")


def test_a_file_that_is_no_npz_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"emotion,pixels\n0,1 2 3\n")
    with pytest.raises(DatasetError, match="npz"):
        read_fer2013(tmp_path, "train")


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / FILE, **arrays(label_names=np.array(NAMES, dtype=object)))
    with pytest.raises(DatasetError, match="pickle"):
        read_fer2013(tmp_path, "train")
