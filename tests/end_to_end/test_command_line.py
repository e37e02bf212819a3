"""The command line as a newcomer runs it: real models, processes of their own, speech out of an installed package."""

from __future__ import annotations

import importlib.util
import itertools
import json
import subprocess
import sys
import wave
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from stream.prediction import Prediction, decode, json_schema

SECONDS = 4
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first seconds of a reading of A Tale of Two Cities."""
    package = importlib.util.find_spec("moonshine_voice")
    assert package is not None
    assert package.submodule_search_locations is not None
    clip = tmp_path_factory.mktemp("speech") / "speech.wav"
    with wave.open(str(Path(package.submodule_search_locations[0]) / "assets" / "two_cities.wav")) as source:
        sound = source.readframes(SECONDS * source.getframerate())
        with wave.open(str(clip), "wb") as target:
            target.setparams(source.getparams())
            target.writeframes(sound)
    return clip


def affectstream(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.cli.app", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=300, check=False)


def words(predictions: list[Prediction]) -> str:
    finals = [p.result for p in predictions if p.result.status == "final"]
    return " ".join(result.transcript.text for result in finals if result.transcript is not None).lower()


def test_analyze_writes_valid_lines_and_nothing_else(speech: Path) -> None:
    finished = affectstream("analyze", str(speech), "--output", "-", "--session", "tale")
    assert finished.returncode == 0, finished.stderr
    validator = Draft202012Validator(json_schema())
    lines = finished.stdout.splitlines()
    for line in lines:
        validator.validate(json.loads(line))
    predictions = [decode(line) for line in lines]
    finals = [p.result for p in predictions if p.result.status == "final"]
    assert "best of times" in words(predictions)
    assert finals[0].start_ns == 0
    assert all(before.end_ns == after.start_ns for before, after in itertools.pairwise(finals))
    assert abs(finals[-1].end_ns - SECONDS * 10**9) < 10**8
    assert {p.result.session for p in predictions} == {"tale"}
    assert any(p.result.status == "provisional" for p in predictions)
    assert all(p.result.modalities["video"].state == "absent" for p in predictions)
    assert "best of times" in finished.stderr.lower()


def test_demo_shows_what_a_subscriber_received(speech: Path) -> None:
    finished = affectstream("demo", str(speech), "--once")
    assert finished.returncode == 0, finished.stderr
    assert "best of times" in " ".join(finished.stdout.lower().split())
    assert "session demo-1 ended" in finished.stdout
    assert "\x1b" not in finished.stdout + finished.stderr
