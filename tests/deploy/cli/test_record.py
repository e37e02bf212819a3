from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import FakeInline, FakeSession

Run = Callable[..., Any]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "a.mcap"
    path.write_bytes(b"what the session writes")
    return path


def test_nothing_is_predicted(affectstream: Run, inline: FakeInline, target: Path) -> None:
    outcome = affectstream("record", "clip.mp4", str(target), "--transcript", "a.vtt", "--session", "x")
    assert outcome.code == 0
    (asked,) = inline.asked
    assert (asked["source"], asked["record"], asked["predict"], asked["session"]) == ("clip.mp4", target, False, "x")
    assert str(target.name) in outcome.err.replace("\n", "")


def test_a_recording_that_fails_and_a_cut_source_are_told(
    affectstream: Run, inline: FakeInline, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inline.cut = "source clip.mp4: declares 12 s and holds 9"
    outcome = affectstream("record", "clip.mp4", str(target))
    assert outcome.code == 1
    assert "holds 9" in outcome.err
    monkeypatch.setattr(FakeSession, "recording_failure", "the recording: found No space left on device")
    outcome = affectstream("record", "clip.mp4", str(target))
    assert outcome.code == 1
    assert "No space left" in outcome.err
