"""A session run by a command: what it says to subscribers besides its predictions."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from deploy.cli.terminal import printable
from stream.prediction import Prediction
from stream.timeline.time import NS_PER_SECOND

if TYPE_CHECKING:
    from deploy.inline import InlineSession
    from deploy.session.submitting import SessionNotice
    from stream.publishing.publisher import Publisher


def predictions_of(session: InlineSession) -> Generator[Prediction, None, None]:
    """The session's predictions, as something that can be closed, upon which the session has its summary."""
    yield from session


@contextmanager
def announced(session: InlineSession, publisher: Publisher | None) -> Iterator[Callable[[Prediction], object]]:
    """Publishes the session's start and its end or failure around what is published inside, and its notices."""
    if publisher is None:
        yield _nothing
        return
    from stream.publishing.wire import SessionEvent

    def tell(notice: SessionNotice) -> None:
        publisher.publish(SessionEvent(session=session.id, **msgspec.structs.asdict(notice)))

    publisher.publish(SessionEvent(session=session.id, event="started"))
    session.listeners.append(tell)
    try:
        yield publisher.publish
    except KeyboardInterrupt:
        publisher.publish(
            SessionEvent(session=session.id, event="ended", detail="interrupted", summary=msgspec.to_builtins(session.summary))
        )
        raise
    except BaseException as error:
        publisher.publish(SessionEvent(session=session.id, event="failed", detail=printable(str(error))))
        raise
    publisher.publish(SessionEvent(session=session.id, event="ended", summary=msgspec.to_builtins(session.summary)))


@contextmanager
def kept(session: InlineSession, path: Path) -> Iterator[None]:
    """Writes the last minutes of a live session to `path` when the process gets SIGUSR1, and at the end."""
    session.check_kept()
    before = signal.signal(signal.SIGUSR1, lambda *_: session.keep(path))
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
        session.keep(path)


def line_of(notice: SessionNotice) -> str | None:
    """A notice for people, in one line; None for what the summary counts anyway."""
    at_s = notice.start_ns / NS_PER_SECOND
    match notice.event:
        case "sheds":
            return f"{at_s:.1f} s: {notice.detail}; left out: {notice.step}"
        case "hole":
            return f"{at_s:.1f} s: nothing until {(notice.end_ns or 0) / NS_PER_SECOND:.1f} s"
        case "stream-idle" | "stream-back":
            return f"{at_s:.1f} s: {notice.stream} is {'idle' if notice.event == 'stream-idle' else 'back'}"
    return None


def _nothing(_: Prediction) -> None:
    """Nobody listens."""
