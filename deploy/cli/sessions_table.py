"""The table of sessions that a subscriber sees: a small state a session, and how it is drawn."""

from __future__ import annotations

from typing import Literal

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from deploy.cli.render import EMOTION_STYLES, clock, sentiment_style
from deploy.cli.terminal import printable
from stream.prediction import Prediction, Result
from stream.publishing.wire import Body, Gap
from stream.timeline.time import NS_PER_SECOND

MOST_SESSIONS = 16
"""Rows; with the headings and some lines above them they fit a terminal of 24."""
SILENT_AFTER_NS = 5 * NS_PER_SECOND
"""A session that keeps up says something each second (cadence) and at the latest every two (silence windows)."""
NAME_CELLS = 24
SPEECH = "speech"
_STYLES = {"running": "green", "ended": "dim", "failed": "bold red", "silent": "yellow"}


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a segment: session time in nanoseconds, sentiment in [-3, 3], the most probable emotion."""

    source_epoch: int
    start_ns: int
    end_ns: int
    sentiment: float | None
    emotion: tuple[str, float] | None


class SessionState(msgspec.Struct, frozen=True, kw_only=True):
    """What a subscriber knows of one session.

    `finals` counts final predictions seen, of every lane; `newest` is the latest segment of the speech lane; `lost` counts
    messages that can't be had any more; `heard_ns` is when the newest message came, on the clock of `now_ns`.
    """

    session: str
    state: Literal["running", "ended", "failed"] = "running"
    finals: int = 0
    newest: Segment | None = None
    lost: int = 0
    heard_ns: int | None = None


Sessions = tuple[SessionState, ...]
"""The least recent first, at most `MOST_SESSIONS`."""


def heard(sessions: Sessions, body: Body, now_ns: int) -> Sessions:
    """The sessions after a prediction or an event that came at `now_ns`."""
    if isinstance(body, Prediction):
        return _latest(sessions, _predicted(_known(sessions, body.result.session), body.result, now_ns))
    known = _known(sessions, body.session)
    if body.event == "started" and known.state != "running":
        known = SessionState(session=body.session)  # the name is used again
    if body.event == "ended" or body.event == "failed":
        known = msgspec.structs.replace(known, state=body.event)
    return _latest(sessions, msgspec.structs.replace(known, heard_ns=now_ns))


def missed(sessions: Sessions, gap: Gap) -> Sessions:
    """The sessions after a gap; one of unknown topics is on nobody's account."""
    if gap.topic is None or gap.count is None:
        return sessions
    known = _known(sessions, gap.topic.partition("/")[2])
    return _latest(sessions, msgspec.structs.replace(known, lost=known.lost + gap.count))


def sessions_table(sessions: Sessions, now_ns: int) -> Table:
    """One row a session, by name, so that rows stay where they are; ages are those at `now_ns`."""
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("session", overflow="fold", min_width=6)  # the one that gives way on a narrow terminal
    table.add_column("state", no_wrap=True)
    table.add_column("segments", justify="right", no_wrap=True)
    table.add_column("newest", no_wrap=True)
    table.add_column("sentiment", justify="right", no_wrap=True)
    table.add_column("emotion", no_wrap=True)
    table.add_column("gaps", justify="right", no_wrap=True)
    table.add_column("age", justify="right", no_wrap=True)
    for known in sorted(sessions, key=lambda known: known.session):
        table.add_row(*_cells(known, now_ns))
    return table


def _known(sessions: Sessions, session: str) -> SessionState:
    return next((known for known in sessions if known.session == session), SessionState(session=session))


def _latest(sessions: Sessions, latest: SessionState) -> Sessions:
    return (*(known for known in sessions if known.session != latest.session), latest)[-MOST_SESSIONS:]


def _predicted(known: SessionState, result: Result, now_ns: int) -> SessionState:
    newest = known.newest
    # An amendment of an earlier segment does not take the place of a later one.
    if result.lane == SPEECH and (
        newest is None or (result.source_epoch, result.start_ns) >= (newest.source_epoch, newest.start_ns)
    ):
        newest = Segment(
            source_epoch=result.source_epoch,
            start_ns=result.start_ns,
            end_ns=result.end_ns,
            sentiment=None if result.sentiment is None else result.sentiment.value,
            emotion=max(result.emotions.items(), key=lambda item: item[1]) if result.emotions else None,
        )
    finals = known.finals + (result.status == "final")
    return msgspec.structs.replace(known, finals=finals, newest=newest, heard_ns=now_ns)


def _cells(known: SessionState, now_ns: int) -> tuple[Text, ...]:
    name = Text(printable(known.session), style="bold")
    name.truncate(NAME_CELLS, overflow="ellipsis")
    age_ns = None if known.heard_ns is None else max(0, now_ns - known.heard_ns)
    silent = known.state == "running" and age_ns is not None and age_ns >= SILENT_AFTER_NS
    state = "silent" if silent else known.state
    segment = known.newest
    span, sentiment, emotion = Text(), Text(), Text()
    if segment is not None:
        span.append(f"{clock(segment.start_ns)}–{clock(segment.end_ns)}")
        if segment.sentiment is not None:
            sentiment.append(f"{segment.sentiment:+z.1f}", style=sentiment_style(segment.sentiment))
        if segment.emotion is not None:
            label, share = segment.emotion
            emotion.append(f"{printable(label)[:8]:<8} {share:>4.0%}", style=EMOTION_STYLES.get(label, ""))
    return (
        name,
        Text(state, style=_STYLES[state]),
        Text(str(known.finals)),
        span,
        sentiment,
        emotion,
        Text(str(known.lost), style="red" if known.lost else "dim"),
        Text("" if age_ns is None else _age(age_ns)),
    )


def _age(ns: int) -> str:
    seconds = ns / NS_PER_SECOND
    if seconds < 10:
        return f"{ns * 10 // NS_PER_SECOND / 10:.1f} s"
    if seconds < 120:
        return f"{int(seconds)} s"
    return f"{int(seconds // 60)} min" if seconds < 7_200 else f"{int(seconds // 3_600)} h"
