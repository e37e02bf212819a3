"""A session run by a command: what it says to subscribers besides its predictions."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from deploy.cli.terminal import printable
from stream.prediction import Prediction

if TYPE_CHECKING:
    from deploy.inline import InlineSession
    from stream.publishing.publisher import Publisher


def predictions_of(session: InlineSession) -> Generator[Prediction, None, None]:
    """The session's predictions, as something that can be closed, upon which the session has its summary."""
    yield from session


@contextmanager
def announced(session: InlineSession, publisher: Publisher | None) -> Iterator[Callable[[Prediction], object]]:
    """Publishes the session's start and its end or failure around what is published inside."""
    if publisher is None:
        yield _nothing
        return
    from stream.publishing.wire import SessionEvent

    publisher.publish(SessionEvent(session=session.id, event="started"))
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


def _nothing(_: Prediction) -> None:
    """Nobody listens."""
