from __future__ import annotations

import io
import re

import pytest
from cli_fakes import SECOND, prediction
from rich.console import Console

from deploy.cli.following import SessionsView
from deploy.cli.sessions_table import MOST_SESSIONS, SILENT_AFTER_NS, Sessions, heard, missed, sessions_table
from stream.publishing.wire import Body, Gap, SessionEvent


def event(session: str, name: str) -> SessionEvent:
    return SessionEvent(session=session, event=name)


def lost(topic: str | None, first: int, last: int | None) -> Gap:
    return Gap(publisher_epoch=1, topic=topic, first=first, last=last, reason="gone")


def after(*bodies: Body, at_ns: int = 0) -> Sessions:
    sessions: Sessions = ()
    for body in bodies:
        sessions = heard(sessions, body, at_ns)
    return sessions


def drawn(sessions: Sessions, now_ns: int = 0, width: int = 100) -> list[str]:
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(sessions_table(sessions, now_ns))
    return [line.rstrip() for line in console.export_text().splitlines() if line.strip()]


def rows(sessions: Sessions, now_ns: int = 0) -> dict[str, list[str]]:
    """The cells of each session that are not empty; two spaces and more part them."""
    return {cells[0]: cells[1:] for cells in (re.split(r"\s{2,}", line) for line in drawn(sessions, now_ns)[2:])}


def test_each_session_has_a_row_with_all_that_is_asked_for() -> None:
    sessions = after(
        prediction(2, 6.5, 1.2, session="studio"),
        prediction(6.5, 9, -1.8, session="studio", emotion="sadness"),
        event("lab", "started"),
        at_ns=3 * SECOND,
    )
    sessions = missed(sessions, lost("prediction/studio", 4, 6))
    assert drawn(sessions, now_ns=3 * SECOND + 400_000_000)[0].split() == [
        "session", "state", "segments", "newest", "sentiment", "emotion", "gaps", "age",
    ]  # fmt: skip
    assert rows(sessions, now_ns=3 * SECOND + 400_000_000) == {
        "lab": ["running", "0", "0", "0.4 s"],
        "studio": ["running", "2", "0:06.5–0:09.0", "-1.8", "sadness", "64%", "3", "0.4 s"],
    }


@pytest.mark.parametrize(
    ("name", "later_ns", "expected"),
    [
        ("started", SILENT_AFTER_NS - 1, "running"),
        ("started", SILENT_AFTER_NS, "silent"),
        ("ended", SILENT_AFTER_NS, "ended"),
        ("failed", SILENT_AFTER_NS, "failed"),
    ],
)
def test_a_session_is_silent_only_while_more_may_come(name: str, later_ns: int, expected: str) -> None:
    assert rows(after(event("clip", name)), later_ns)["clip"][0] == expected


def test_only_finals_are_counted_and_a_provisional_may_be_the_newest() -> None:
    sessions = after(prediction(0, 2), prediction(2, 3, 0.4, status="provisional"))
    assert rows(sessions)["clip"][1:4] == ["1", "0:02.0–0:03.0", "+0.4"]


def test_an_amendment_of_an_earlier_segment_leaves_the_newest() -> None:
    sessions = after(prediction(0, 2, 1.0), prediction(2, 4, -1.0), prediction(0, 2, 2.0, status="amended"))
    assert rows(sessions)["clip"][1:4] == ["2", "0:02.0–0:04.0", "-1.0"]


def test_a_name_used_again_begins_anew() -> None:
    first = after(event("clip", "started"), prediction(0, 2, 1.0), event("clip", "ended"))
    assert rows(heard(first, event("clip", "started"), 0))["clip"] == ["running", "0", "0", "0.0 s"]


def test_the_least_recent_sessions_go() -> None:
    names = [f"s{number:02}" for number in range(MOST_SESSIONS)]
    sessions = after(*(event(name, "started") for name in names), event("s00", "drops"), event("new", "started"))
    assert list(rows(sessions)) == ["new", "s00", *names[2:]]


def test_what_nobody_knows_the_session_of_is_on_no_account() -> None:
    sessions = after(event("clip", "started"))
    assert missed(sessions, lost(None, 3, 9)) == missed(sessions, lost(None, 3, None)) == sessions
    assert rows(missed(sessions, lost("session/clip", 3, 9)))["clip"][2] == "7"


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [(0, "0.0 s"), (9.99, "9.9 s"), (10, "10 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h")],
)
def test_ages(age_s: float, expected: str) -> None:
    assert rows(after(event("clip", "ended")), round(age_s * SECOND))["clip"][-1] == expected


def test_names_from_outside_are_cut_and_do_nothing() -> None:
    sessions = after(event("[red]\x1b[2J" + "x" * 100, "started"))
    assert drawn(sessions)[2].startswith("[red] [2J" + "x" * 14 + "… ")


def test_a_narrow_terminal_folds_the_name_and_cuts_nothing() -> None:
    sessions = missed(
        after(prediction(62.5, 66, -1.8, session="a-long-name", emotion="surprise")), lost("prediction/a-long-name", 1, 3)
    )
    lines = drawn(sessions, width=80)[2:]
    assert "".join(line.split()[0] for line in lines) == "a-long-name"
    assert lines[0].split()[1:] == ["running", "1", "1:02.5–1:06.0", "-1.8", "surprise", "64%", "3", "0.0", "s"]


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)


def test_on_a_terminal_finals_scroll_above_the_table() -> None:
    console = terminal()
    with SessionsView(console, terminal(), waiting="", now_ns=lambda: 0) as view:
        view.show(prediction(2, 3, 0.4, "provisional words", status="provisional"))
        view.show(prediction(2, 6.5, 1.2, "Thank you"))
        view.lost(lost("prediction/clip", 4, 6))
    assert isinstance(console.file, io.StringIO)
    written = console.file.getvalue()
    assert "provisional words" not in written
    last = written.rindex("segments")
    assert written.index("Thank you") < written.index("3 messages lost: gone") < last
    assert "0:02.0–0:06.5" in written[last:]


def test_where_nobody_looks_there_is_no_table() -> None:
    console = Console(file=io.StringIO(), width=100)
    err = Console(file=io.StringIO(), width=100)
    with SessionsView(console, err, waiting="") as view:
        view.show(prediction(2, 6.5, 1.2, "Thank you"))
        view.lost(lost("prediction/clip", 4, 6))
    assert isinstance(console.file, io.StringIO)
    assert isinstance(err.file, io.StringIO)
    assert "Thank you" in console.file.getvalue()
    assert "segments" not in console.file.getvalue()
    assert err.file.getvalue() == "3 messages lost: gone\n"
