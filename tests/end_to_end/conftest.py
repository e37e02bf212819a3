from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest

from deploy.cli.app import run
from deploy.demo_clip import mux_still
from deploy.inline import LoadedOperators

# The modules beside the tests are importable, which importlib mode alone does not make them.
sys.path.insert(0, str(Path(__file__).parent))

Command = Callable[..., subprocess.CompletedProcess[str]]


def packaged(package: str, path: str) -> Path:
    """A file inside an installed package."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / path


@pytest.fixture(scope="session")
def operators() -> Iterator[LoadedOperators]:
    """The real operators and the shipped model, loaded once."""
    loaded = LoadedOperators()
    yield loaded
    loaded.close()


@pytest.fixture(scope="session")
def talking_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A still face with packaged speech: real media that needs nothing from outside."""
    clip = tmp_path_factory.mktemp("media") / "talking.mkv"
    picture, sound = packaged("skimage", "data/astronaut.png"), packaged("moonshine_voice", "assets/two_cities.wav")
    mux_still(picture, sound, clip, longest_s=8)
    return clip


@pytest.fixture(scope="session")
def write_media() -> Callable[..., Path]:
    """Writes small media with or without either track."""
    return _write_media


@pytest.fixture
def affectstream() -> Command:
    """The console command in a process of its own."""

    def run(*arguments: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "deploy.cli.app", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)

    return run


@pytest.fixture
def sound(write_media: Callable[..., Path], tmp_path: Path) -> Path:
    return write_media(tmp_path / "sound.wav", seconds=2, video=False)


class Outcome(msgspec.Struct, frozen=True):
    code: int
    out: str
    err: str

    @property
    def refusal(self) -> str:
        """The one line that tells what the user has to mend, and nothing else anywhere."""
        assert (self.code, self.out) == (2, ""), self
        return self.error

    @property
    def error(self) -> str:
        """The one line on standard error."""
        assert self.err.startswith("affectstream: "), self.err
        assert self.err.count("\n") == 1, self.err
        return self.err


@pytest.fixture
def analyze(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """`affectstream analyze` in this process and an empty folder; also what libraries write by themselves is caught."""
    monkeypatch.chdir(tmp_path)

    def analyze(*arguments: str | Path) -> Outcome:
        outcome = Outcome(run(["analyze", *map(str, arguments)]), *capfd.readouterr())
        assert ("Traceback" in outcome.err) == ("--debug" in arguments)
        return outcome

    return analyze


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where the model is loaded before the error is told."""

    def load(*_: object, **__: object) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("deploy.inline.LoadedOperators", load)


@pytest.fixture
def loaded(operators: LoadedOperators, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real operators, loaded once for all tests."""
    monkeypatch.setattr(operators, "close", lambda: None)
    monkeypatch.setattr("deploy.inline.LoadedOperators", lambda *_, **__: operators)


def _write_media(path: Path, *, seconds: float = 3.0, video: bool = True, audio: bool = True) -> Path:
    """A grey picture at 25 a second and a quiet tone, in what the suffix says."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=25) if video else None
        sound = container.add_stream("pcm_s16le", rate=16_000, layout="mono") if audio else None
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        for index in range(round(seconds * 25)):
            if picture is not None:
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 128, np.uint8), format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(picture.encode(frame))
            if sound is not None:
                tone = 1000 * np.sin(2 * np.pi * 440 * np.arange(index * 640, (index + 1) * 640) / 16_000)
                piece = av.AudioFrame.from_ndarray(tone.astype(np.int16)[None], format="s16", layout="mono")
                piece.sample_rate, piece.pts, piece.time_base = 16_000, index * 640, Fraction(1, 16_000)
                container.mux(sound.encode(piece))
        for stream in (picture, sound):
            if stream is not None:
                container.mux(stream.encode(None))
    return path
