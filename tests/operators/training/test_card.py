"""The cards that ship say what a card is read for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from operators.faces.speaker_folder import DEFAULT_SPEAKER
from operators.model_description import read_description
from operators.model_folder import DEFAULT_MODEL

HEADINGS = ["Use", "Out of scope", "Data and licences", "Metrics", "Limits", "Command"]


@pytest.mark.parametrize("folder", [DEFAULT_MODEL, DEFAULT_SPEAKER], ids=lambda folder: folder.name)
def test_a_card_has_the_usual_headings_in_their_order_and_figures_by_group(folder: Path) -> None:
    card = (folder / "card.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", card, flags=re.MULTILINE)
    assert [heading for heading in headings if heading in HEADINGS] == HEADINGS
    assert "By group" in headings or "| group |" in card
    assert "affectstream train" in card.rsplit("## Command", 1)[1]


def test_every_interval_holds_its_figure() -> None:
    description = read_description(DEFAULT_MODEL)
    for metrics in (*(part.metrics for part in description.parts.values()), description.fusion.metrics):
        held = {name.removesuffix("_low") for name in metrics if name.endswith("_low")}
        assert held
        for name in held:
            assert metrics[f"{name}_low"] <= metrics[name] <= metrics[f"{name}_high"], name


def test_what_ships_is_under_20_megabytes() -> None:
    files = [path for folder in (DEFAULT_MODEL, DEFAULT_SPEAKER) for path in folder.iterdir()]
    assert sum(path.stat().st_size for path in files) < 20e6
