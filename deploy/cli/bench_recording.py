"""`affectstream bench recording`: what recording a session costs, and whether anything is lost."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer


def recording(
    source: Annotated[
        list[Path] | None, typer.Argument(help="Media files to join; where none, the demo clip and packaged speech.")
    ] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of a session with and one without a recording.")] = 5,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of media in each run.")] = 60.0,
    sessions: Annotated[int, typer.Option(min=1, help="Sessions at once, each recorded.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """CPU of sessions that are recorded over those that are not, and several at once: what is lost."""
    from deploy.bench.joined_media import join_clips
    from deploy.bench.recording import measure_cost, measure_together
    from deploy.cli.render import print_figures
    from deploy.demo_clip import demo_clip, packaged_speech

    clips = source or [demo_clip().path, *packaged_speech()]
    with tempfile.TemporaryDirectory() as folder:
        media = Path(folder) / "joined.mkv"
        join_clips(clips, media, silence_s=(1.0, 1.5, 2.0), seconds=seconds)
        figures = {"cost": measure_cost(media, pairs=pairs), "together": measure_together(media, sessions=sessions)}
        print_figures(figures, as_json=as_json)
