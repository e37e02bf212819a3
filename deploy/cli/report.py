"""`affectstream report`: a session as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    file: Annotated[
        Path,
        typer.Argument(help="A recording, or predictions as analyze --output writes them.", metavar="FILE.mcap|FILE.jsonl"),
    ],
    output: Annotated[Path | None, typer.Option(help="The page; beside FILE where none is given.", metavar="FILE.html")] = None,
) -> None:
    """Write one HTML page: the time line, the media, what was said, emotions over time, what became of every packet.

    The exit code is 1 where the recording is cut: what is there is on the page.
    """
    import tempfile

    from deploy.cli import terminal
    from deploy.report.content import content_of
    from deploy.report.media import playable
    from deploy.report.page import write_page
    from stream.errors import InputError, SourceCutError

    err = terminal.stderr()
    target = output or file.with_suffix(".html")
    if target.exists() and file.exists() and target.samefile(file):
        raise InputError(f"report {target}", found="the recording itself", fix="choose another file")
    with terminal.working(err, "Writing the page"):
        content, recording = content_of(file)
        try:
            with tempfile.TemporaryDirectory(dir=target.parent) as folder:
                media = None if recording is None else playable(recording, Path(folder))
                beside = write_page(content, media, target)
        except OSError as error:
            raise InputError(f"report {target}", found=error.strerror, expected="a file that can be written") from error
    terminal.print_notice(err, f"{target}" + (f", with its media in {beside}" if beside else ""))
    if recording is not None and recording.cut is not None:
        raise SourceCutError(recording.cut, fix="what came before is on the page")
