"""`affectstream bench clocks`: how well the clock maps find session time."""

from __future__ import annotations

from typing import Annotated

import typer

from stream.timeline.time import from_seconds


def clocks(
    minutes: Annotated[float, typer.Option(min=3, help="Length of each simulated session.")] = 60.0,
    seeds: Annotated[int, typer.Option(min=1, help="Sessions of each device.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Error and stated uncertainty of the clock maps on simulated devices: jitter, drift, a reset, a gap, latency."""
    from deploy.bench.clock_accuracy import measure
    from deploy.cli.render import print_figures

    print_figures(dict(measure(from_seconds(60 * minutes), seeds)), as_json=as_json)
