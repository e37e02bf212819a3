from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import FakeInline

from deploy.cli import demo as demo_command
from deploy.demo_clip import DemoClip
from stream.errors import OperatorError

Run = Callable[..., Any]


@pytest.fixture
def clip(tmp_path: Path) -> str:
    path = tmp_path / "clip.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(bytes(32_000))
    return str(path)


def test_what_a_subscriber_in_another_process_received_is_shown(affectstream: Run, inline: FakeInline, clip: str) -> None:
    outcome = affectstream("demo", clip, "--once")
    assert outcome.code == 0
    assert "Thank you all very much for being here today" in outcome.out
    assert "session demo-1 ended" in outcome.out
    assert "3.0 x real time" in outcome.out
    assert "affectstream subscribe tcp://127.0.0.1:" in outcome.err
    (asked,) = inline.asked
    assert (asked["source"], asked["realtime"], asked["session"]) == (clip, True, "demo-1")


def test_without_a_source_it_is_the_demo_clip_and_its_notice(
    affectstream: Run, inline: FakeInline, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = DemoClip(path=Path("still.mkv"), notice="this is a still face")
    monkeypatch.setattr("deploy.demo_clip.demo_clip", lambda: stand_in)
    outcome = affectstream("demo", "--once")
    assert outcome.code == 0
    assert "this is a still face" in outcome.err
    assert inline.asked[0]["source"] == "still.mkv"


def test_it_plays_again_until_it_is_interrupted(
    affectstream: Run, inline: FakeInline, clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_command, "END_TIMEOUT_S", 0)  # the subscriber got no signal: a terminal would send it one
    opened = inline.open_session

    def three_times(source: str, **options: Any) -> Any:
        if len(inline.asked) == 3:
            raise KeyboardInterrupt
        return opened(source, **options)

    inline.open_session = three_times
    outcome = affectstream("demo", clip)
    assert outcome.code == 0
    assert [asked["session"] for asked in inline.asked] == ["demo-1", "demo-2", "demo-3"]


def test_a_failure_ends_the_subscriber_too(affectstream: Run, inline: FakeInline, clip: str) -> None:
    inline.steps = (*inline.steps[:3], OperatorError("operator faces", found="nothing"))
    outcome = affectstream("demo", clip, "--once")
    assert outcome.code == 1
    assert "affectstream: operator faces: found nothing" in outcome.err
    assert "session demo-1 failed: operator faces: found nothing" in outcome.out


def test_a_cut_source_is_told_once(affectstream: Run, inline: FakeInline, clip: str) -> None:
    inline.cut = "clip.mp4 ends early"
    outcome = affectstream("demo", clip, "--once")
    assert outcome.code == 1
    assert (outcome.out + outcome.err).count("clip.mp4 ends early") == 1


def test_what_can_not_be_played_is_told_before_anything_is_loaded(
    affectstream: Run, inline: FakeInline, tmp_path: Path
) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    for name, found in (("none.mp4", "no such file"), ("text.mp4", "found text")):
        outcome = affectstream("demo", str(tmp_path / name))
        assert outcome.code == 2
        assert found in outcome.err
        assert outcome.err.count("\n") == 1
    assert inline.asked == []
