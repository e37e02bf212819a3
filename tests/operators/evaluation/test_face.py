from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.evaluation.face import judge_faces, read_faces
from operators.evaluation.judgement import JudgedClasses
from operators.interface import EMOTIONS
from operators.model import AffectModel
from stream.errors import DatasetError, ModelFolderError

NAMES = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
IMAGES = np.random.default_rng(0).integers(0, 256, (21, 48, 48), dtype=np.uint8)


def write(folder: Path, **changes: Any) -> Path:
    arrays = {
        "images": IMAGES,
        "labels": np.arange(21, dtype=np.uint8) % 7,
        "split": np.repeat([0, 0, 1], 7).astype(np.uint8),
        "label_names": np.array(NAMES),
        "split_names": np.array(["train", "private", "unused"]),
    }
    arrays = {name: value for name, value in (arrays | changes).items() if value is not None}
    np.savez(folder / "faces.npz", **arrays)
    return folder / "faces.npz"


def test_each_split_that_has_pictures_in_the_published_emotions(tmp_path: Path, shipped: AffectModel) -> None:
    splits = judge_faces(read_faces(write(tmp_path)), shipped)
    assert list(splits) == ["train", "private"]
    judged = splits["private"].judged
    assert isinstance(judged, JudgedClasses)
    assert [EMOTIONS[k] for k in judged.truth] == ["anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise"]
    assert judged.probabilities.shape == (7, 7)
    assert splits["private"].items[0] == "picture 14"
    assert splits["private"].pictures is not None
    np.testing.assert_array_equal(splits["private"].pictures, IMAGES[14:])


def test_a_picture_is_judged_by_the_live_encoder_and_head(tmp_path: Path, shipped: AffectModel) -> None:
    judged = judge_faces(read_faces(write(tmp_path)), shipped)["train"].judged
    assert isinstance(judged, JudgedClasses)
    part = shipped._video
    assert part is not None
    import torch

    with torch.inference_mode():
        expected = part.emotion.probabilities(torch.from_numpy(shipped.face_encoder.infer(IMAGES[:14])))
    np.testing.assert_array_equal(judged.probabilities, expected)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"images": IMAGES[:, :40]}, r"images.*\(21, 40, 48\).*uint8 \(n, 48, 48\)"),
        ({"images": IMAGES.astype(np.float32)}, "images.*float32"),
        ({"images": IMAGES[0]}, r"\(48, 48\)"),
        ({"labels": np.zeros(20, np.uint8)}, r"labels.*\(20,\).*\(21,\)"),
        ({"labels": np.zeros(21)}, "labels.*float64"),
        ({"labels": np.full(21, 7)}, "labels.*7.*0 to 6"),
        ({"labels": np.full(21, -1)}, "labels.*-1"),
        ({"split": np.full(21, 3)}, "split.*3.*0 to 2"),
        ({"label_names": np.array([*NAMES[:6], "bored"])}, "bored"),
        ({"label_names": None}, "no array label_names"),
        ({"labels": np.zeros(21, np.uint8)}, "split train.*no sample of disgust, fear"),
        ({"images": IMAGES[:0], "labels": np.zeros(0, int), "split": np.zeros(0, int)}, "no picture"),
        ({"label_names": np.array(NAMES, object)}, "no pickle"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(DatasetError, match=named):
        read_faces(write(tmp_path, **changes))


def test_a_file_that_is_no_npz(tmp_path: Path) -> None:
    path = tmp_path / "faces.npz"
    with pytest.raises(DatasetError, match="no such file"):
        read_faces(path)
    with pytest.raises(DatasetError, match="npz"):
        read_faces(tmp_path)
    np.save(tmp_path / "one.npy", IMAGES)
    for content in (
        b"",
        b"text",
        pickle.dumps({"images": 1}),
        (tmp_path / "one.npy").read_bytes(),
        write(tmp_path).read_bytes()[:9000],
    ):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match="npz"):
            read_faces(path)


def test_a_model_that_reads_no_faces_says_so(tmp_path: Path, shipped: AffectModel) -> None:
    blind = AffectModel(name="words", digest="0" * 64, licence="any", text=shipped._text)
    with pytest.raises(ModelFolderError, match=r"model words.*faces"):
        judge_faces(read_faces(write(tmp_path)), blind)
