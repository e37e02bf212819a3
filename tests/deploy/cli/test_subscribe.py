from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from cli_fakes import FakeInline

from stream.prediction import Prediction, decode
from stream.publishing.publisher import Publisher
from stream.publishing.wire import Body, SessionEvent

Run = Callable[..., Any]

SUMMARY = {"media_ns": 12_000_000_000, "wall_s": 4.0, "cpu_s": 3.0, "dispositions": {"audio": {"received": 9, "dropped": {}}}}


def ended(session: str, event: str = "ended", **fields: Any) -> SessionEvent:
    return SessionEvent(session=session, event=event, **fields)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher("tcp://127.0.0.1:*") as publisher:
        yield publisher


def later(publisher: Publisher, *bodies: Body) -> None:
    """Publishes once the command has subscribed."""

    def publish() -> None:
        assert publisher.wait_for_subscriber(20)
        for body in bodies:
            publisher.publish(body)

    threading.Thread(target=publish, daemon=True).start()


@pytest.fixture
def speech(inline: FakeInline) -> tuple[Prediction, ...]:
    return inline.steps


def test_rows_and_the_summary_that_the_session_published(
    affectstream: Run, publisher: Publisher, speech: tuple[Prediction, ...]
) -> None:
    later(publisher, ended("clip", "started"), *speech, ended("clip", summary=SUMMARY))
    outcome = affectstream("subscribe", publisher.endpoint, "--until-ended")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("clip ─")
    assert outcome.out.count("–0:") == 4
    assert "Thank you all very much" in outcome.out
    assert "12.0 s of media in 4.0 s: 3.0 x real time" in outcome.out
    assert "session clip ended" in outcome.out
    assert "\x1b" not in outcome.out


def test_json_holds_every_revision_and_nothing_else(
    affectstream: Run, publisher: Publisher, speech: tuple[Prediction, ...]
) -> None:
    later(publisher, *speech, ended("clip", summary=SUMMARY))
    outcome = affectstream("subscribe", publisher.endpoint, "--json", "--until-ended", "--session", "clip")
    assert [decode(line) for line in outcome.out.splitlines()] == list(speech)
    assert (outcome.code, outcome.err) == (0, "session clip ended\n")


def test_sessions_have_their_headings(affectstream: Run, publisher: Publisher, speech: tuple[Prediction, ...]) -> None:
    finals = [p for p in speech if p.result.status == "final"]
    other = [msgspec.structs.replace(p, result=msgspec.structs.replace(p.result, session="other")) for p in finals]
    later(publisher, finals[0], other[0], finals[1], other[1], ended("clip"), ended("other"))
    outcome = affectstream("subscribe", publisher.endpoint, "--until-ended")
    headings = [line.split()[0] for line in outcome.out.splitlines() if "──────────────" in line and line[0] in "co"]
    assert headings == ["clip", "other", "clip", "other"]


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_session_that_failed_is_told_with_its_reason(
    affectstream: Run, publisher: Publisher, speech: tuple[Prediction, ...], options: tuple[str, ...]
) -> None:
    later(publisher, speech[0], ended("clip", "failed", detail="operator faces: found\x1b[2J nothing"))
    outcome = affectstream("subscribe", publisher.endpoint, "--until-ended", *options)
    assert outcome.code == 1
    assert "session clip failed: operator faces: found [2J nothing" in outcome.out + outcome.err
    assert "\x1b" not in outcome.out + outcome.err


@pytest.mark.parametrize("summary", [{}, {"media_ns": "many"}, {"media_ns": 0, "wall_s": 0, "cpu_s": 0}])
def test_a_foreign_summary_does_no_harm(
    affectstream: Run, publisher: Publisher, speech: tuple[Prediction, ...], summary: dict[str, Any]
) -> None:
    later(publisher, *speech, ended("clip", summary=summary))
    outcome = affectstream("subscribe", publisher.endpoint, "--until-ended")
    assert (outcome.code, outcome.err) == (0, "")
    assert "session clip ended" in outcome.out


def test_what_was_lost_is_told(affectstream: Run, publisher: Publisher, speech: tuple[Prediction, ...]) -> None:
    def publish() -> None:
        assert publisher.wait_for_subscriber(20)
        publisher.publish(speech[0])
        publisher._sequences[b"prediction/clip"] += 3  # as if the queue had been full
        publisher.publish(speech[2])
        publisher.publish(ended("clip"))

    threading.Thread(target=publish, daemon=True).start()
    outcome = affectstream("subscribe", publisher.endpoint, "--until-ended")
    assert outcome.err == "3 messages lost: gone\n"


@pytest.mark.parametrize("line", [("nonsense",), ("--session", "")])
def test_what_cannot_be_subscribed_to_is_one_line(affectstream: Run, line: tuple[str, ...]) -> None:
    outcome = affectstream("subscribe", *line)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
