"""Puts a trained part into a model folder, and writes the folder's card."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import msgspec
from torch import nn

from operators.model_description import (
    DESCRIPTION_FILE,
    BaseWeights,
    FusionDescription,
    Modality,
    ModelDescription,
    PartDescription,
    ValenceMap,
    WeightsDescription,
    read_description,
    write_description,
)
from operators.model_folder import CARD_FILE, DEFAULT_MODEL, save_weights
from operators.packaged_weights import PackagedWeights
from operators.training.card import card_of


def begin_folder(output: Path, *, alone: bool) -> None:
    """Makes sure, before hours of training, that the part will have a folder to go into.

    A model that is there stays as it is; a new one begins as the model that ships or, `alone`, with no part.
    Raises `ModelFolderError` where what is there is no model folder.
    """
    if (output / DESCRIPTION_FILE).is_file():
        read_description(output)
        return
    output.mkdir(parents=True, exist_ok=True)
    if alone:
        return
    shipped = read_description(DEFAULT_MODEL)
    for name in shipped.weights:
        shutil.copyfile(DEFAULT_MODEL / name, output / name)
    _write(output, msgspec.structs.replace(shipped, name=output.resolve().name))


def put_part(
    output: Path,
    modality: Modality,
    part: PartDescription,
    modules: nn.Module,
    *,
    licence: WeightsDescription,
    base: PackagedWeights | None = None,
    sentiment_from_valence: ValenceMap | None = None,
) -> None:
    """Writes a part's weights, the description with it in place of an earlier one, and the card.

    How far it is trusted beside others was fitted to the earlier one, and goes with that. The digest in `licence` is that of
    the file written here, whatever it was.
    """
    if (output / DESCRIPTION_FILE).is_file():
        description = read_description(output)
    else:
        fusion = FusionDescription(method="decision")
        description = ModelDescription(format=1, name=output.resolve().name, fusion=fusion, weights={})
    save_weights(output / part.weights, modules)
    sha256 = hashlib.sha256((output / part.weights).read_bytes()).hexdigest()
    weights = {**description.weights, part.weights: msgspec.structs.replace(licence, sha256=sha256)}
    bases = {found.package: found for found in description.base_weights}
    if base is not None:
        bases[base.package] = BaseWeights(package=base.package, licence=base.licence, files=dict(base.digests))
    fusion = msgspec.structs.replace(description.fusion, trust={}, data="", metrics={}, command="")
    if sentiment_from_valence is not None:
        fusion = msgspec.structs.replace(fusion, sentiment_from_valence=sentiment_from_valence)
    description = msgspec.structs.replace(
        description,
        **{modality: part},
        fusion=fusion,
        weights=dict(sorted(weights.items())),
        base_weights=tuple(bases.values()),
    )
    _write(output, description)


def put_fusion(output: Path, fusion: FusionDescription) -> None:
    """Writes how the parts of a model folder are fused, in place of how they were, and the card."""
    _write(output, msgspec.structs.replace(read_description(output), fusion=fusion))


def _write(output: Path, description: ModelDescription) -> None:
    (output / CARD_FILE).write_text(card_of(description), encoding="utf-8")
    write_description(output, description)
