from __future__ import annotations

import importlib.util
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "cv2", "av", "ray")
TORCH = ("torch", "torchaudio", "transformers", "ray")
FREE_OF_TORCH = (
    "stream",
    "deploy.session",
    "operators.interface",
    "operators.batching",
    "operators.voice_activity",
    "operators.faces",
    "operators.transcription",
)


def _loaded(program: str, watched: tuple[str, ...]) -> set[str]:
    """Which of the watched modules a fresh interpreter holds after it ran `program`."""
    report = f"import sys\n{program}\nsys.stderr.write(chr(10) + ' '.join(m for m in {watched!r} if m in sys.modules))"
    finished = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert finished.returncode == 0, finished.stderr
    return set(finished.stderr.rsplit("\n", 1)[1].split())


def _modules(name: str) -> list[str]:
    """A module and, where it is a package, everything below it."""
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"{name} does not exist"
    below = pkgutil.walk_packages(spec.submodule_search_locations or [], prefix=f"{name}.")
    return [name, *(module.name for module in below)]


@pytest.mark.parametrize("package", ["stream", "operators", "deploy"])
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    assert _loaded(f"import {package}", HEAVY) == set()


def test_help_loads_nothing_heavy() -> None:
    program = """
from deploy.cli.app import main
sys.argv = ["affectstream", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
    assert _loaded(program, HEAVY) == set()


@pytest.mark.parametrize("package", FREE_OF_TORCH)
def test_session_engine_and_stream_operators_load_no_torch(package: str) -> None:
    program = "\n".join(f"import {module}" for module in _modules(package))
    assert _loaded(program, TORCH) == set()


def test_a_heavy_import_would_be_seen() -> None:
    assert _loaded("import cv2", HEAVY) == {"cv2"}
