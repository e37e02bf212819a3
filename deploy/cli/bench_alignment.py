"""`affectstream bench alignment`: what live sources' troubles do to the windows, against truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from stream.errors import SettingsError
from stream.timeline.time import from_seconds


def alignment(
    trace: Annotated[Path | None, typer.Option(help="A trace to align instead of the simulated ones.", metavar="FILE")] = None,
    windows: Annotated[Path | None, typer.Option(help="Write the windows, one JSON object a line.", metavar="FILE")] = None,
    write_trace: Annotated[
        Path | None, typer.Option("--write-trace", help="Write the simulated trace of --only.", metavar="FILE")
    ] = None,
    only: Annotated[str | None, typer.Option(help="One disturbance alone, such as jitter.", metavar="NAME")] = None,
    seconds: Annotated[float, typer.Option(min=20, help="Length of each simulated trace.")] = 120.0,
    seed: Annotated[int, typer.Option(help="Of the simulated traces.")] = 7,
    soak_hours: Annotated[
        float | None, typer.Option("--soak-hours", min=2, help="Memory over so many simulated hours instead.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Packets placed rightly, wrongly, late or never, by window, with delay, speed and memory: one trace a disturbance."""
    from deploy.bench import alignment_disturbances as simulated
    from deploy.bench.alignment import align, peak_bytes
    from deploy.bench.alignment_score import score
    from deploy.bench.alignment_soak import soak
    from deploy.bench.alignment_trace import Trace, read_trace, write_lines
    from deploy.bench.alignment_trace import write_trace as write
    from deploy.cli.render import print_figures

    if only is not None and only not in simulated.DISTURBANCES:
        raise SettingsError("option --only", found=repr(only), expected=f"one of {', '.join(simulated.DISTURBANCES)}")
    if windows is not None and trace is None and only is None:
        raise SettingsError("option --windows", found="several traces", expected="one", fix="add --trace FILE or --only NAME")
    if write_trace is not None and only is None:
        raise SettingsError("option --write-trace", found="several traces", expected="one", fix="add --only NAME")
    if soak_hours is not None:
        print_figures(soak(soak_hours, seed), as_json=as_json)
        return
    length_ns = from_seconds(seconds)
    traces: dict[str, Trace] = {}
    if trace is not None:
        traces["trace"] = read_trace(trace)
    else:
        names = simulated.DISTURBANCES if only is None else [only]
        traces = {name: simulated.simulated_trace(simulated.DISTURBANCES[name], length_ns, seed) for name in names}
    if write_trace is not None and only is not None:
        write(traces[only], write_trace)
    figures = {}
    for name, each in traces.items():
        found = align(each)
        if windows is not None:
            write_lines(windows, found.windows)
        scored = score(each, found, peak_bytes=peak_bytes(each))
        figures[name] = scored if as_json else msgspec.structs.replace(scored, per_window=None)
    print_figures(figures, as_json=as_json)
