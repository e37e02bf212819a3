"""`affectstream bench`: the measures, each with the command that prints it."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.bench_alignment import alignment
from deploy.cli.bench_clocks import clocks
from deploy.cli.bench_overload import overload
from deploy.cli.bench_publish import publish
from deploy.cli.bench_recording import recording
from deploy.cli.device import DeviceOption, check_device
from stream.errors import SettingsError

app = typer.Typer(help="Measure what the pipeline costs on this machine.", no_args_is_help=True)
app.command()(alignment)
app.command()(clocks)
app.command()(publish)
app.command()(overload)
app.command()(recording)

JOIN_SILENCE_S = (1.0, 1.5, 2.0)
"""Seconds of silence after each joined clip, in turn."""
UTTERANCES = 60
"""Clips joined for the latency in real time."""

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def parse_duration(text: str) -> float:
    """Seconds of a duration such as 90s, 10m or 1h. Raises `SettingsError`."""
    units = {"s": 1, "m": 60, "h": 3600}
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match is None or float(match[1]) == 0:
        raise SettingsError("duration", found=repr(text), expected="a number and a unit, such as 90s, 10m or 1h")
    return float(match[1]) * units[match[2]]


@app.command()
def pipeline(
    source: Annotated[
        list[Path] | None, typer.Argument(help="Media files to join; where none, the demo clip and packaged speech.")
    ] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of pipeline and bare run.")] = 5,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of media in each run.")] = 60.0,
    realtime: Annotated[bool, typer.Option("--realtime", help="Measure latency at the media's pace instead.")] = False,
    loop: Annotated[str | None, typer.Option(help="Measure memory in real time for so long, such as 10m.")] = None,
    as_json: JsonOption = False,
) -> None:
    """CPU against the same operators called bare; with --realtime the latency, with --loop the memory over time."""
    from deploy.bench import pipeline as measures
    from deploy.bench.joined_media import join_clips
    from deploy.cli.render import print_figures
    from deploy.demo_clip import demo_clip, packaged_speech
    from stream.timeline.settings import UtteranceSettings

    clips = source or [demo_clip().path, *packaged_speech()]
    with tempfile.TemporaryDirectory() as folder:
        media = Path(folder) / "joined.mkv"
        if realtime or loop:
            length_s = parse_duration(loop) if loop else None
            if length_s is None and len(clips) < UTTERANCES:
                clips = [clips[index % len(clips)] for index in range(UTTERANCES)]
            join_clips(clips, media, silence_s=JOIN_SILENCE_S, seconds=length_s)
            latency, memory = measures.measure_realtime(media, utterance=UtteranceSettings())
            print_figures({"latency": latency, "memory": memory}, as_json=as_json)
        else:
            join_clips(clips, media, silence_s=JOIN_SILENCE_S, seconds=seconds)
            print_figures(measures.measure_overhead(media, pairs=pairs), as_json=as_json)


@app.command()
def timeline(
    events: Annotated[int, typer.Option(min=10_000, help="Events of the long one of the two seeded traces.")] = 500_000,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each; the median counts.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Events a second through the aligner with all policies on, and whether ten times the trace takes ten times as long."""
    from deploy.bench.alignment_speed import measure_scaling
    from deploy.cli.render import print_figures

    print_figures(measure_scaling(events, runs), as_json=as_json)


@app.command()
def operators(
    model: Annotated[
        Path | None, typer.Option("--model", help="A model folder instead of the one that ships.", metavar="DIR")
    ] = None,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Milliseconds and items a second of each operator alone, by batch size, on one thread."""
    check_device(device)
    from deploy.bench.operator_speed import measure_operators
    from deploy.cli.render import print_figures

    print_figures(measure_operators(model, device), as_json=as_json)
