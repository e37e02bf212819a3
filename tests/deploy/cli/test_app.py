from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer
from cli_fakes import FakeInline

from deploy.cli import app
from stream.errors import SourceError
from stream.prediction import json_schema

Run = Callable[..., Any]


def test_an_error_of_the_family_is_one_line(affectstream: Run, inline: FakeInline) -> None:
    inline.refusal = SourceError("source clip.mp4", found="text", expected="a media file", fix="give\nanother")
    outcome = affectstream("analyze", "clip.mp4")
    assert outcome.err == "affectstream: source clip.mp4: found text, expected a media file; give another\n"
    assert (outcome.code, outcome.out) == (2, "")


def test_an_unexpected_error_is_one_line_that_says_how_to_see_more(affectstream: Run, inline: FakeInline) -> None:
    inline.refusal = ZeroDivisionError("by\nzero")
    outcome = affectstream("analyze", "clip.mp4")
    assert outcome.err == "affectstream: unexpected ZeroDivisionError: by zero; --debug shows where\n"
    assert outcome.code == 1


@pytest.mark.parametrize("line", [("--debug", "analyze", "clip.mp4"), ("analyze", "clip.mp4", "--debug")])
@pytest.mark.parametrize("refusal", [ZeroDivisionError("by zero"), SourceError("source")])
def test_debug_shows_where_from_anywhere_on_the_line(
    affectstream: Run, inline: FakeInline, line: tuple[str, ...], refusal: Exception
) -> None:
    inline.refusal = refusal
    outcome = affectstream(*line)
    assert "Traceback" in outcome.err
    assert "open_session" in outcome.err
    assert outcome.code == (2 if isinstance(refusal, SourceError) else 1)


def test_a_file_may_be_called_debug(affectstream: Run, inline: FakeInline) -> None:
    assert affectstream("analyze", "--", "--debug").code == 0
    assert inline.asked[0]["source"] == "--debug"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (("analyze",), "Missing argument"),
        (("analyze", "--foo", "x"), "No such option: --foo"),
        (("nonsense",), "nonsense"),
        (("analyze", "x", "--segments", "words"), "words"),
    ],
)
def test_a_wrong_command_line_is_one_line(affectstream: Run, line: tuple[str, ...], expected: str) -> None:
    outcome = affectstream(*line)
    assert outcome.code == 2
    assert expected in outcome.err
    assert outcome.err.count("\n") == 1
    assert "--help" in outcome.err


def test_without_a_command_there_is_help(affectstream: Run) -> None:
    outcome = affectstream()
    assert outcome.code == 0
    for command in ("analyze", "demo", "subscribe", "doctor", "schema", "train", "bench"):
        assert command in outcome.out


def test_a_group_without_its_command_shows_help(affectstream: Run) -> None:
    outcome = affectstream("bench")
    assert outcome.code == 2
    assert "pipeline" in outcome.out + outcome.err
    assert "affectstream: ;" not in outcome.err


def helps(command: Any, name: str) -> Iterator[tuple[str, str]]:
    yield name, command.help or ""
    for child, below in getattr(command, "commands", {}).items():
        yield from helps(below, f"{name} {child}")


def test_a_command_s_help_breaks_no_sentence() -> None:
    """rich keeps the line breaks of docstrings: each paragraph is one line of code."""
    found = dict(helps(typer.main.get_command(app.app), "affectstream"))
    assert len(found) > 12
    assert all(text for text in found.values())
    assert [name for name, text in found.items() if any("\n" in part.strip() for part in text.split("\n\n"))] == []


def test_interrupting_anything_ends_with_130(affectstream: Run, inline: FakeInline) -> None:
    inline.refusal = KeyboardInterrupt()
    assert affectstream("analyze", "clip.mp4").code == app.INTERRUPTED


def test_a_thread_inside_a_library_does_not_change_the_exit_code(inline: FakeInline, monkeypatch: pytest.MonkeyPatch) -> None:
    done, codes = threading.Event(), []
    threading.Thread(target=done.wait, daemon=True).start()
    monkeypatch.setattr(sys, "argv", ["affectstream", "analyze", "clip.mp4"])
    monkeypatch.setattr("os._exit", codes.append)
    inline.refusal = KeyboardInterrupt()
    with pytest.raises(SystemExit):
        app.main()
    done.set()
    assert codes == [130]


def test_the_schema_is_printed(affectstream: Run) -> None:
    outcome = affectstream("schema")
    assert json.loads(outcome.out) == json_schema()
    assert (outcome.code, outcome.err) == (0, "")
