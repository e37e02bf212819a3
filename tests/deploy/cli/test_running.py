from __future__ import annotations

from typing import Any

import pytest

from deploy.cli.running import announced, line_of
from deploy.session.submitting import SessionNotice
from stream.publishing.wire import SessionEvent
from stream.timeline.time import NS_PER_SECOND


class Session:
    id = "s1"

    def __init__(self) -> None:
        self.listeners: list[Any] = []
        self.summary: dict[str, int] = {}


class Publisher:
    def __init__(self) -> None:
        self.published: list[Any] = []

    def publish(self, body: object) -> None:
        self.published.append(body)


def test_notices_of_a_session_are_published_between_its_start_and_its_end() -> None:
    session, publisher = Session(), Publisher()
    with announced(session, publisher):  # type: ignore[arg-type]
        for listener in session.listeners:
            listener(SessionNotice(event="drops", start_ns=5, end_ns=9, stream="video", count=3, detail="policy"))
            listener(SessionNotice(event="sheds", start_ns=10, step="provisionals", detail="1.6 s behind"))
    assert [event.event for event in publisher.published] == ["started", "drops", "sheds", "ended"]
    assert publisher.published[1] == SessionEvent(
        session="s1", event="drops", start_ns=5, end_ns=9, stream="video", count=3, detail="policy"
    )


@pytest.mark.parametrize(
    ("notice", "line"),
    [
        (SessionNotice(event="hole", start_ns=NS_PER_SECOND, end_ns=40 * NS_PER_SECOND), "1.0 s: nothing until 40.0 s"),
        (SessionNotice(event="stream-idle", start_ns=NS_PER_SECOND, stream="audio"), "1.0 s: audio is idle"),
        (SessionNotice(event="stream-back", start_ns=0, stream="audio"), "0.0 s: audio is back"),
        (SessionNotice(event="sheds", start_ns=0, step="video", detail="3 s behind"), "0.0 s: 3 s behind; left out: video"),
        (SessionNotice(event="drops", start_ns=0, stream="video", count=1), None),
    ],
)
def test_people_are_told_what_the_summary_does_not_count(notice: SessionNotice, line: str | None) -> None:
    assert line_of(notice) == line
