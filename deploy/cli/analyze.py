"""`affectstream analyze`: a source from its beginning to its end, in this process."""

from __future__ import annotations

from contextlib import ExitStack, closing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deploy.settings import Settings


class Segments(StrEnum):
    """How the timeline is cut into segments."""

    UTTERANCES = "utterances"
    WINDOWS = "windows"
    LINES = "lines"


LISTENER_S = 2
"""Length of a listener's windows: as long as those of silence."""


class Transcribers(StrEnum):
    """What turns speech into words."""

    MOONSHINE = "moonshine"
    WHISPER = "whisper"


class Stores(StrEnum):
    """Where the last minutes of a live session are."""

    MEMORY = "memory"
    DISK = "disk"


def settings_of(*, listeners: bool, keep_in: Stores) -> Settings:
    """The settings that the options stand for."""
    from deploy.settings import Settings
    from stream.recording.ring import RingSettings
    from stream.timeline.settings import TimelineSettings
    from stream.timeline.time import NS_PER_SECOND

    return Settings(
        timeline=TimelineSettings(listener_ns=LISTENER_S * NS_PER_SECOND) if listeners else TimelineSettings(),
        ring=RingSettings(store=keep_in.value),
    )


def analyze(
    source: Annotated[str, typer.Argument(help="A path, an http(s), rtsp or udp URL, or - for standard input.")],
    transcript: Annotated[
        str | None, typer.Option(help="Given words instead of recognition: WebVTT, SRT or JSON lines.", metavar="FILE")
    ] = None,
    segments: Annotated[
        Segments, typer.Option(help="Utterances, fixed windows, or the lines of the transcript.")
    ] = Segments.UTTERANCES,
    output: Annotated[
        str | None, typer.Option(help="Write every revision as one JSON object a line; - for standard output.", metavar="FILE")
    ] = None,
    realtime: Annotated[bool, typer.Option("--realtime", help="At the media's own pace.")] = False,
    live: Annotated[
        bool | None,
        typer.Option(
            "--live/--not-live",
            help="On the clock, dropping what comes too fast: rtsp and udp are live anyway, a file is read as if it were.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="Of a live session the last ten minutes, written on SIGUSR1 and at its end.", metavar="FILE.mcap"),
    ] = None,
    keep_in: Annotated[
        Stores, typer.Option(help="Where these ten minutes are meanwhile: disk where memory is dear.")
    ] = Stores.MEMORY,
    publish: Annotated[
        list[str] | None,
        typer.Option(
            help="Publish over ZeroMQ, such as tcp://127.0.0.1:5556 or ipc://PATH; may be given again.", metavar="ENDPOINT"
        ),
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="Keep what is published, for subscribers to have after a restart.", metavar="DIR")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="The publisher's secret key.", metavar="FILE")] = None,
    authorised: Annotated[Path | None, typer.Option(help="The public keys of who may subscribe.", metavar="DIR")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Publish beyond this machine without keys: whoever reaches it reads all.")
    ] = False,
    model: Annotated[Path | None, typer.Option(help="A model folder instead of the one that ships.", metavar="DIR")] = None,
    transcriber: Annotated[
        Transcribers, typer.Option(help="What hears the words; whisper is an extra, and measures when each word is said.")
    ] = Transcribers.MOONSHINE,
    session: Annotated[str | None, typer.Option(help="The session's name in what is published.", metavar="ID")] = None,
    listeners: Annotated[
        bool, typer.Option("--listeners", help="Windows of 2 s for each visible person who does not speak, as lanes face:N.")
    ] = False,
    record: Annotated[
        Path | None, typer.Option(help="Record the session for replay, report and viewers of MCAP.", metavar="FILE.mcap")
    ] = None,
) -> None:
    """Predict affect over a clip: a line for each final prediction, then a summary.

    The exit code is 0 when all that the source declares was analysed, 1 when something failed, 2 when the input is at fault.
    """
    from deploy.cli import terminal
    from deploy.cli.lines import STDOUT, LineWriter
    from deploy.cli.running import announced, kept, line_of, predictions_of
    from deploy.cli.summary import figures_of, print_summary
    from deploy.cli.view import PredictionView
    from stream.errors import SourceCutError
    from stream.publishing.wire import check_session

    out, err = terminal.stdout(), terminal.stderr()
    both = out.is_terminal and err.is_terminal
    human = err if both or output == STDOUT else out
    moving = err if err.is_terminal and not (output == STDOUT and out.is_terminal) else None
    if session is not None:
        check_session(session)

    with ExitStack() as stack:
        publisher = None
        if publish:
            from deploy.cli.keys import publisher_keys
            from stream.publishing.publisher import Publisher

            own, known = publisher_keys(key, authorised)
            publisher = stack.enter_context(Publisher(publish, log=log, key=own, authorised=known, insecure=insecure))
            if insecure and own is None:
                terminal.print_notice(err, "--insecure: whoever reaches these addresses reads all that is published")
        with terminal.working(err, "Loading the model"):
            from deploy.inline import open_session

            running = stack.enter_context(
                open_session(
                    source,
                    transcript=transcript,
                    segments=segments.value,
                    realtime=realtime,
                    live=live,
                    model=model,
                    transcriber=transcriber.value,
                    session=session,
                    settings=settings_of(listeners=listeners, keep_in=keep_in),
                    record=record,
                )
            )
        lines = stack.enter_context(LineWriter(output, source=source)) if output is not None else None

        def print_line(line: str | None) -> None:
            if line is not None:
                terminal.print_notice(human, line)

        for line in running.notices:
            print_line(line)
        view = PredictionView(human, moving, position_ns=lambda: running.position_ns, duration_ns=running.duration_ns)
        if keep is not None:
            stack.enter_context(kept(running, keep))
        running.listeners.append(lambda notice: print_line(line_of(notice)))
        interrupted = False
        try:
            with announced(running, publisher) as announce, closing(predictions_of(running)) as predictions, view:
                for prediction in predictions:
                    if lines is not None:
                        lines.write(prediction)
                    announce(prediction)
                    view.show(prediction)
        except KeyboardInterrupt:
            interrupted = True
        summary = running.summary
        print_summary(human, view.tally, figures_of(summary))
        if publisher is not None and publisher.dropped:
            terminal.print_notice(human, f"{publisher.dropped} messages were not published: the queue was full")
        if running.recording_failure is not None:
            terminal.print_notice(human, running.recording_failure)
        if interrupted:
            raise typer.Exit(130)
        if running.recording_failure is not None:
            raise typer.Exit(1)
        if summary.cut is not None:
            raise SourceCutError(summary.cut, fix="what is there was analysed, fetch it again for the rest")
