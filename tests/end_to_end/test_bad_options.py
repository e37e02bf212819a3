"""Options that can't be used, through the command line: one line with what, where, the way out."""

from __future__ import annotations

import hashlib
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from operators.model_folder import DEFAULT_MODEL
from stream.prediction import decode

Analyze = Callable[..., Any]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--segment", "lines"), "No such option: --segment"),
        (("--segments", "words"), "'words' is not one of 'utterances', 'windows', 'lines'"),
        (("--transcriber", "other"), "'other' is not one of 'moonshine', 'whisper'"),
        (("--output",), "Option '--output' requires an argument"),
        (("other.wav",), "unexpected extra argument"),
    ],
)
def test_a_wrong_option_is_told(analyze: Analyze, unloaded: None, sound: Path, options: tuple[str, ...], found: str) -> None:
    line = analyze(sound, *options).refusal
    assert found in line
    assert "--help" in line


def test_lines_without_a_transcript_are_told(analyze: Analyze, unloaded: None, sound: Path) -> None:
    assert "found no transcript, expected one; add --transcript FILE" in analyze(sound, "--segments", "lines").refusal


def test_an_endpoint_that_is_taken_is_told(analyze: Analyze, unloaded: None, sound: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        endpoint = f"tcp://127.0.0.1:{holder.getsockname()[1]}"
        line = analyze(sound, "--publish", endpoint).refusal
    assert f"address {endpoint}: found in use; choose another one" in line


def without_weights(folder: Path) -> None:
    next(folder.glob("*.safetensors")).unlink()


def with_altered_weights(folder: Path) -> None:
    weights = next(folder.glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)


def with_weights_of_another_model(folder: Path) -> None:
    weights, description = next(folder.glob("*.safetensors")), folder / "model.yaml"
    pinned = hashlib.sha256(weights.read_bytes()).hexdigest()
    save_file({"other": np.zeros(3, np.float32)}, weights)
    found = hashlib.sha256(weights.read_bytes()).hexdigest()
    description.write_text(description.read_text().replace(pinned, found))


def with_a_pickle(folder: Path) -> None:
    (folder / "more.pkl").write_bytes(b"x")


@pytest.mark.parametrize(
    ("damage", "found", "way_out"),
    [
        (without_weights, "found no file ", "copy the folder again"),
        (with_altered_weights, "found SHA-256 ", "copy it again"),
        (with_weights_of_another_model, "found nothing, expected float32", "of another model"),
        (with_a_pickle, "found more.pkl, which model.yaml does not name", "remove it"),
        (shutil.rmtree, "found no folder", "check the path"),
    ],
)
def test_a_damaged_model_folder_is_told(
    analyze: Analyze, sound: Path, damage: Callable[[Path], None], found: str, way_out: str
) -> None:
    shutil.copytree(DEFAULT_MODEL, "model")
    damage(Path("model"))
    Path("out.jsonl").write_text("of yesterday")
    line = analyze(sound, "--model", "model", "--output", "out.jsonl").refusal
    assert found in line
    assert way_out in line
    assert Path("out.jsonl").read_text() == "of yesterday"


@pytest.mark.parametrize(
    ("target", "found"),
    [(".", "Is a directory"), ("none/out.jsonl", "No such file or directory"), ("sound.wav", "the source itself")],
)
def test_an_output_that_can_not_be_written_is_told(
    analyze: Analyze, loaded: None, sound: Path, target: str, found: str
) -> None:
    before = sound.read_bytes()
    assert f"output {target}: found {found}" in analyze("sound.wav", "--output", target).refusal
    assert sound.read_bytes() == before


def test_an_output_of_an_earlier_run_is_replaced(analyze: Analyze, loaded: None, sound: Path) -> None:
    Path("out.jsonl").write_text("of yesterday\n" * 100)
    assert analyze(sound, "--output", "out.jsonl").code == 0
    assert [decode(line).result.status for line in Path("out.jsonl").read_text().splitlines()][-1] == "final"
