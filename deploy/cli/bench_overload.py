"""`affectstream bench overload`: what a live session leaves out when it can't keep up, and what it keeps."""

from __future__ import annotations

from typing import Annotated

import typer


def overload(
    seconds: Annotated[float, typer.Option(min=10, help="Length of each live session.")] = 60.0,
    load: Annotated[float, typer.Option(min=0, help="Time that the operators take over the time that there is.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Live sessions in real time whose face operator, then whose transcriber takes twice the time that there is."""
    from deploy.bench.overload import measure
    from deploy.cli.render import print_figures

    figures = {
        "video": measure(video_load=load, seconds=seconds),
        "video_and_given_words": measure(video_load=load, seconds=seconds, given_words=True),
        "transcription": measure(transcription_load=load, seconds=seconds),
    }
    print_figures(figures, as_json=as_json)
