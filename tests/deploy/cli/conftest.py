"""Makes the fakes beside the tests importable, which importlib mode alone does not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from deploy.cli.app import run

sys.path.insert(0, str(Path(__file__).parent))

from cli_fakes import FakeInline


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> FakeInline:
    module = FakeInline()
    monkeypatch.setitem(sys.modules, "deploy.inline", module)
    return module


class Outcome(msgspec.Struct, frozen=True):
    code: int
    out: str
    err: str


@pytest.fixture
def affectstream(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs one command line in this process, as the console script does."""

    def affectstream(*arguments: str) -> Outcome:
        code = run(list(arguments))
        return Outcome(code, *capfd.readouterr())

    return affectstream
