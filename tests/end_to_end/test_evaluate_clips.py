"""Labelled clips through the real pipeline and the model that ships."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.cli.app import run

WORDS = "WEBVTT\n\n00:00.500 --> 00:06.500\nI hate this, it is awful and disgusting.\n"


@pytest.mark.usefixtures("loaded")
def test_a_clip_heard_and_a_clip_with_given_words(
    talking_clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "words.vtt").write_text(WORDS)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(f"media,transcript,label\n{talking_clip},,1.5\n{talking_clip},words.vtt,-2.5\n")
    page = tmp_path / "page.html"
    code = run(["evaluate", "clips", "--data", str(manifest), "--json", "--report", str(page)])
    out, err = capfd.readouterr()
    assert (code, err) == (0, "")
    figures = json.loads(out)["clips"]
    assert (figures["rows"], figures["unanswered"], figures["interval_level"]) == (2, 0, 0.9)
    # The clip is the same: only the given words, read instead of those that are heard, can make it that much worse.
    said = [float(value) for value in re.findall(r"<td>([+-]\d\.\d\d)</td>", page.read_text())]
    assert len(said) == 2
    assert min(said) < max(said) - 0.5


@pytest.mark.usefixtures("loaded")
def test_media_that_are_none_are_named_and_left_out(
    write_media: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_media(tmp_path / "sound.wav", seconds=1, video=False)
    (tmp_path / "text.mp4").write_text("no media")
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("media,label\nsound.wav,joy\ntext.mp4,joy\nsound.wav,anger\n")
    code = run(["evaluate", "clips", "--data", str(manifest), "--json"])
    out, err = capfd.readouterr()
    assert (code, json.loads(out)["clips"]["rows"]) == (1, 2)
    told = " ".join(err.split())
    assert "line 3" in told
    assert "text.mp4" in told
    assert told.endswith("left out")
