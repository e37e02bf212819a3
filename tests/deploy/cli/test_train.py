from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from operators.model_description import read_description
from operators.model_folder import DEFAULT_MODEL


@pytest.mark.parametrize(
    ("part", "named"),
    [("face", "faces48.npz"), ("speech", "clips.csv"), ("text", "segments.csv"), ("fusion", "clips.csv"), ("speaker", "*.mpg")],
    ids=str,
)
def test_missing_data_is_one_line_and_the_users_to_mend(
    affectstream: Callable[..., Any], tmp_path: Path, part: str, named: str
) -> None:
    done = affectstream("train", part, "--data", str(tmp_path), "--output", str(tmp_path / "model"))
    assert done.code == 2
    assert named in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("part", ["face", "speech", "text"])
def test_a_device_that_is_not_there_is_one_line_before_anything_is_read(
    affectstream: Callable[..., Any], tmp_path: Path, part: str
) -> None:
    for device in ("nonsense", "cuda:99", "meta"):
        done = affectstream("train", part, "--data", str(tmp_path), "--output", str(tmp_path / "model"), "--device", device)
        assert done.code == 2
        assert device in done.err
        assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize(("part", "modality"), [("face", "video"), ("speech", "audio"), ("text", "text")])
def test_what_a_card_says_it_was_trained_by_is_a_command_of_the_options_that_count(
    affectstream: Callable[..., Any], tmp_path: Path, part: str, modality: str
) -> None:
    command = read_description(DEFAULT_MODEL).parts[modality].command.split()
    assert command[:3] == ["affectstream", "train", part]
    done = affectstream(*command[1:], "--data", str(tmp_path), "--output", str(tmp_path / "model"))
    assert done.code == 2
    assert "option" not in done.err


def test_help_names_the_parts_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from deploy.cli.app import run; run(['train', '--help']); "
        "sys.exit(bool({'torch', 'lightning', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for part in ("face", "speech", "text", "fusion", "speaker"):
        assert part in done.stdout
