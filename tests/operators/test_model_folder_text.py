"""Model folders whose text part has adapters of the packaged encoder."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from operators.encoders.text import TextEncoder
from operators.interface import EMOTIONS
from operators.model_description import AdaptersDescription, EmotionHeadDescription, PartDescription, WeightsDescription
from operators.model_folder import PartModules, load_model
from operators.packaged_weights import MINILM
from operators.training.assembly import put_part
from stream.errors import ModelFolderError

TEXTS = ["I loved it.", "an awful film", "no"]
FILE = "text.safetensors"
LICENCE = WeightsDescription(sha256="0" * 64, licence="none", use="any", data="none")


def make(folder: Path, *, seed: int | None) -> Path:
    """A model that reads text alone; its adapters, if a seed is given, change something."""
    adapters = None if seed is None else AdaptersDescription(rank=3, first_layer=4)
    emotion = EmotionHeadDescription(labels=EMOTIONS, temperature=1.0, reliability=0.5)
    part = PartDescription(encoder="minilm-l6-v2", weights=FILE, emotion=emotion, adapters=adapters)
    torch.manual_seed(seed or 0)
    modules = PartModules("text", part)
    for adapter in modules.adapters or ():
        torch.nn.init.normal_(adapter.up, std=0.05)
    folder.mkdir()
    put_part(folder, "text", part, modules, licence=LICENCE, base=MINILM)
    return folder


def embeddings(folder: Path) -> Tensor:
    model = load_model(folder)
    assert model._text is not None
    return model._text.encoder.encode(TEXTS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("models") / "adapted", seed=1)


def test_adapters_come_back_from_their_folder_and_models_do_not_mix(made: Path, tmp_path: Path) -> None:
    plain, one, other = TextEncoder().encode(TEXTS), embeddings(made), embeddings(make(tmp_path / "other", seed=2))
    assert min((plain - one).norm(dim=1).min(), (one - other).norm(dim=1).min()) > 0.1
    assert torch.equal(embeddings(made), one)
    assert torch.equal(TextEncoder().encode(TEXTS), plain)
    assert torch.equal(embeddings(make(tmp_path / "without", seed=None)), plain)


def spoil(folder: Path, change: Callable[[dict[str, Any]], object], tensors: Callable[[dict[str, Tensor]], object]) -> None:
    """Changes description and tensors and pins the changed file, as somebody would who built a folder by hand."""
    path = folder / FILE
    found = load_file(path)
    tensors(found)
    save_file(found, path)
    description = yaml.safe_load((folder / "model.yaml").read_text())
    change(description)
    description["weights"][FILE]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "model.yaml").write_text(yaml.safe_dump(description))


UP, DOWN = "adapters.layer4.mixed.up", "adapters.layer5.narrowed.down"
SPOILT: dict[str, tuple[Callable[[dict[str, Any]], object], Callable[[dict[str, Tensor]], object], str]] = {
    "another rank": (
        lambda d: d["text"]["adapters"].update(rank=5),
        lambda _: None,
        r"\(3, 384\), expected float32 \(5, 384\)",
    ),
    "more layers": (lambda d: d["text"]["adapters"].update(first_layer=3), lambda _: None, r"adapters\.layer3.*found nothing"),
    "no adapters described": (lambda d: d["text"].pop("adapters"), lambda _: None, "adapters.*no such tensor"),
    "a misshapen tensor": (lambda _: None, lambda t: t.update({UP: torch.zeros(384, 4)}), rf"{UP}.*\(384, 4\)"),
    "a missing tensor": (lambda _: None, lambda t: t.pop(DOWN), f"{DOWN}.*found nothing"),
    "a tensor with NaN": (lambda _: None, lambda t: t[UP].fill_(float("nan")), f"{UP}.*not finite"),
    "half precision": (lambda _: None, lambda t: t.update({UP: t[UP].half()}), f"{UP}.*float16"),
    "no rank": (lambda d: d["text"]["adapters"].update(rank=0), lambda _: None, "rank"),
    "a layer that is not there": (lambda d: d["text"]["adapters"].update(first_layer=6), lambda _: None, "first_layer"),
    "adapters of another modality": (lambda d: d.update(audio=d.pop("text")), lambda _: None, "audio"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_adapters_that_do_not_fit_are_refused_in_one_line(made: Path, tmp_path: Path, case: str) -> None:
    folder = shutil.copytree(made, tmp_path / "model")
    change, tensors, named = SPOILT[case]
    spoil(folder, change, tensors)
    with pytest.raises(ModelFolderError, match=named) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_a_changed_file_of_adapters_is_told_by_its_digest(made: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made, tmp_path / "model")
    tensors = load_file(folder / FILE)
    tensors[UP] += 1
    save_file(tensors, folder / FILE)
    with pytest.raises(ModelFolderError, match="SHA-256"):
        load_model(folder)
