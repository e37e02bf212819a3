"""`affectstream demo`: the pipeline in this process, and in another one a subscriber that shows what it receives."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deploy.inline import InlineSession
    from stream.publishing.publisher import Publisher

START_TIMEOUT_S = 60
"""For another interpreter to start on a busy machine."""
END_TIMEOUT_S = 10
"""For the subscriber to show the last that it received."""


def demo(
    source: Annotated[str | None, typer.Argument(help="A media file or URL; a clip of a speech where none is given.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Play it once; otherwise again and again, until Ctrl-C.")] = False,
    record: Annotated[
        Path | None, typer.Option(help="Record the first time that it plays, for replay and report.", metavar="FILE.mcap")
    ] = None,
) -> None:
    """Show predictions in real time, as a subscriber in another process receives them over ZeroMQ."""
    from deploy.cli import terminal
    from stream.errors import PublishingError

    err = terminal.stderr()
    path = _clip() if source is None else _readable(source)
    with _publisher() as publisher:
        with terminal.working(err, "Loading the model"):
            from deploy.inline import LoadedOperators, open_session

            operators = LoadedOperators()
        terminal.print_notice(err, f"{path} in real time; from another terminal: affectstream subscribe {publisher.endpoint}")
        try:
            with _subscriber(publisher, until_ended=once) as subscriber:
                for number in count(1):
                    kept = record if number == 1 else None
                    with open_session(
                        path, realtime=True, session=f"demo-{number}", operators=operators, record=kept
                    ) as session:
                        _play(session, publisher)
                    if session.recording_failure is not None:
                        terminal.print_notice(err, session.recording_failure)
                    if once:
                        break
        except KeyboardInterrupt:
            if once:
                raise
            return
        finally:
            operators.close()
    if subscriber.returncode:
        raise PublishingError("the subscriber", found=f"it ended with {subscriber.returncode}")
    if session.summary.cut is not None or session.recording_failure is not None:
        raise typer.Exit(1)  # the subscriber has said so


def _clip() -> str:
    from deploy.cli import terminal
    from deploy.demo_clip import demo_clip

    err = terminal.stderr()
    with terminal.working(err, "Fetching the demo's clip"):
        clip = demo_clip()
    if clip.notice:
        terminal.print_notice(err, clip.notice)
    return str(clip.path)


def _readable(source: str) -> str:
    """Tells about a file that can't be used before the model is loaded and the subscriber waits."""
    from stream.sources.media import MediaSource

    if source != "-" and "://" not in source and not Path(source).is_fifo():
        MediaSource(source).close()
    return source


def _publisher() -> Publisher:
    from stream.errors import EndpointError
    from stream.publishing.publisher import Publisher
    from stream.publishing.wire import DEFAULT_ENDPOINT

    try:
        return Publisher(DEFAULT_ENDPOINT)
    except EndpointError:
        return Publisher("tcp://127.0.0.1:*")


@contextmanager
def _subscriber(publisher: Publisher, *, until_ended: bool) -> Iterator[subprocess.Popen[bytes]]:
    """`affectstream subscribe` in a process of its own, on this terminal."""
    from stream.errors import PublishingError

    command = [sys.executable, "-m", "deploy.cli.app", "subscribe", publisher.endpoint]
    process = subprocess.Popen([*command, *(["--until-ended"] if until_ended else [])])
    try:
        if not publisher.wait_for_subscriber(START_TIMEOUT_S):
            raise PublishingError("the subscriber", found=f"it did not come within {START_TIMEOUT_S} s")
        yield process
    finally:
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()


def _play(session: InlineSession, publisher: Publisher) -> None:
    from deploy.cli.running import announced, predictions_of

    with announced(session, publisher) as announce, closing(predictions_of(session)) as predictions:
        for prediction in predictions:
            announce(prediction)
