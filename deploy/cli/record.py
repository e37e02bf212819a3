"""`affectstream record`: what the aligner of a session gets, in a file, without predicting anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.analyze import Segments


def record(
    source: Annotated[str, typer.Argument(help="A path, an http(s), rtsp or udp URL, or - for standard input.")],
    file: Annotated[Path, typer.Argument(help="The recording, readable by you alone.", metavar="FILE.mcap")],
    transcript: Annotated[
        str | None, typer.Option(help="Given words instead of recognition: WebVTT, SRT or JSON lines.", metavar="FILE")
    ] = None,
    segments: Annotated[
        Segments, typer.Option(help="Utterances, fixed windows, or the lines of the transcript.")
    ] = Segments.UTTERANCES,
    realtime: Annotated[bool, typer.Option("--realtime", help="At the media's own pace.")] = False,
    model: Annotated[Path | None, typer.Option(help="The model whose face features are recorded.", metavar="DIR")] = None,
    session: Annotated[str | None, typer.Option(help="The session's name.", metavar="ID")] = None,
) -> None:
    """Record a source for `affectstream replay`, without predicting.

    The exit code is 1 where the source is cut or the recording is, and 2 when something about the input has to be mended.
    """
    from deploy.cli import terminal
    from deploy.cli.render import clock
    from stream.errors import AffectstreamError, SourceCutError

    err = terminal.stderr()
    with terminal.working(err, "Loading the operators"):
        from deploy.inline import open_session

        running = open_session(
            source,
            transcript=transcript,
            segments=segments.value,
            realtime=realtime,
            model=model,
            session=session,
            record=file,
            predict=False,
        )
    with running:
        for line in running.notices:
            terminal.print_notice(err, line)
        interrupted = False
        try:
            with terminal.working(err, "Recording"):
                for _ in running:
                    """Nothing is predicted."""
        except KeyboardInterrupt:
            interrupted = True
        if running.recording_failure is not None:
            raise AffectstreamError(running.recording_failure)
        terminal.print_notice(err, f"{clock(running.summary.media_ns)} in {file}, {file.stat().st_size / 1e6:.1f} MB")
    if interrupted:
        raise typer.Exit(130)
    if running.summary.cut is not None:
        raise SourceCutError(running.summary.cut, fix="what is there was recorded")
