from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from operators.model_folder import DEFAULT_MODEL

Run = Callable[..., Any]


@pytest.fixture
def opinions(tmp_path: Path) -> Path:
    path = tmp_path / "my opinions.csv"
    path.write_text("text,label,split\nI LOVED IT,3,dev\nIT WAS AWFUL,-2.6,dev\n")
    return path


def test_the_page_names_the_model_that_was_chosen_and_no_folder(affectstream: Run, opinions: Path, tmp_path: Path) -> None:
    page, model = tmp_path / "page.html", tmp_path / "mine"
    shutil.copytree(DEFAULT_MODEL, model)
    outcome = affectstream("evaluate", "text", "--data", str(opinions), "--model", str(model), "--report", str(page))
    assert (outcome.code, outcome.err) == (0, "")
    text = page.read_text()
    assert "affectstream evaluate text --data &#x27;my opinions.csv&#x27; --model mine" in text
    assert str(tmp_path) not in text


def test_a_page_that_cant_be_written_takes_no_figures_with_it(
    affectstream: Run, opinions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    page = tmp_path / "page.html"
    outcome = affectstream("evaluate", "text", "--data", str(opinions), "--json", "--report", str(page))
    assert outcome.code == 2
    assert "No space left" in outcome.err
    assert outcome.err.count("\n") == 1
    assert json.loads(outcome.out)["dev"]["rows"] == 2
