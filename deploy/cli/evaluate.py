"""`affectstream evaluate`: how well a model does on labelled data, each figure with its interval."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import typer

from deploy.cli.device import DeviceOption, check_device
from stream.errors import DatasetError, InputError, SettingsError

if TYPE_CHECKING:
    from operators.evaluation.judgement import Figure, JudgedSplit
    from operators.interface import SegmentModel
    from operators.model import AffectModel
    from operators.training.progress import Track

app = typer.Typer(help="Judge a model on labelled data: figures with intervals, and a report.", no_args_is_help=True)

ModelOption = Annotated[
    Path | None, typer.Option("--model", help="A model folder instead of the one that ships.", metavar="DIR")
]
JsonOption = Annotated[bool, typer.Option("--json", help='One JSON object, {"split": {"metric": value}}; null: not defined.')]
ReportOption = Annotated[
    Path | None, typer.Option("--report", help="Write a page with plots and the worst examples.", metavar="FILE.html")
]
Item = TypeVar("Item")


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, as the page tells it."""

    data: str
    line: str


@app.command()
def face(
    data: Annotated[Path, typer.Option("--data", help="Arrays laid out as FER2013's faces48.npz.", metavar="FILE.npz")],
    model: ModelOption = None,
    as_json: JsonOption = False,
    report: ReportOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """What it reads in faces, on every split of the file."""
    _check_report(report)
    from operators.evaluation.face import judge_faces, read_faces

    splits = read_faces(data)
    loaded = _load(model, device)
    _tell(loaded, judge_faces(splits, loaded, _track()), _command("face", data, model), as_json=as_json, report=report)


@app.command()
def speech(
    data: Annotated[Path, typer.Option("--data", help="A folder laid out as RAVDESS, with clips.csv.", metavar="DIR")],
    model: ModelOption = None,
    as_json: JsonOption = False,
    report: ReportOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """What it reads in voices, by actors: train, valid, and all others as test."""
    _check_report(report)
    from operators.evaluation.speech import judge_voices, read_voices

    splits = read_voices(data)
    loaded = _load(model, device)
    _tell(loaded, judge_voices(splits, loaded, _track()), _command("speech", data, model), as_json=as_json, report=report)


@app.command()
def text(
    data: Annotated[Path, typer.Option("--data", help="A table laid out as CMU-MOSI's or MELD's.", metavar="FILE.csv")],
    model: ModelOption = None,
    as_json: JsonOption = False,
    report: ReportOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """What it reads in words: sentiment where the table is MOSI's, emotions where it is MELD's, known by the header."""
    _check_report(report)
    from operators.evaluation.text import judge_texts, read_texts

    splits = read_texts(data)
    loaded = _load(model, device)
    _tell(loaded, judge_texts(splits, loaded, _track()), _command("text", data, model), as_json=as_json, report=report)


@app.command()
def clips(
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="A table with the columns media (a path), label (an emotion or a sentiment) and, where wanted, "
            "transcript (a path) and split.",
            metavar="MANIFEST.csv",
        ),
    ],
    model: ModelOption = None,
    as_json: JsonOption = False,
    report: ReportOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """The pipeline itself, end to end: each clip as `analyze` sees it, its segments pooled by their length.

    A clip that can't be analysed is told, with its line, and left out of the figures; the exit status is 1 then.
    """
    from deploy.cli import terminal
    from operators.evaluation.clips import judged_clips, pooled, read_manifest

    _check_report(report)
    manifest = read_manifest(data)
    check_device(device)
    from deploy.inline import LoadedOperators, open_session

    operators = LoadedOperators(model, device)
    clips, opinions = [], []
    try:
        for clip in _track()(manifest.clips, "Clips"):
            transcript = str(clip.transcript) if clip.transcript is not None else None
            try:
                with open_session(
                    str(clip.media), transcript=transcript, operators=operators, session=clip.media.name, provisional=False
                ) as session:
                    opinion = pooled(prediction.result for prediction in session)
                    if session.summary.cut is not None:
                        terminal.print_notice(terminal.stderr(), f"{clip.where}: {session.summary.cut}")
            except InputError as error:
                terminal.print_notice(terminal.stderr(), f"{clip.where}: {error}; left out")
                continue
            clips.append(clip)
            opinions.append(opinion)
    finally:
        operators.close()
    if not clips:
        raise DatasetError(
            f"table {data}", found="no clip that can be analysed", expected="some", fix="see what was told of each"
        )
    judged = judged_clips(msgspec.structs.replace(manifest, clips=tuple(clips)), opinions)
    _tell(operators.model, judged, _command("clips", data, model), as_json=as_json, report=report)
    if len(clips) < len(manifest.clips):
        raise typer.Exit(1)


def _load(folder: Path | None, device: str) -> AffectModel:
    check_device(device)
    import torch

    from operators.model_folder import load_model

    torch.set_num_threads(1)  # as a session computes, which is also faster for rows of this size
    return load_model(folder, device=device)


def _track() -> Track:
    """A progress bar on standard error, where somebody looks."""
    from deploy.cli import terminal

    console = terminal.stderr()

    def track(sequence: Iterable[Item], description: str) -> Iterable[Item]:
        from rich.progress import track

        return track(sequence, description, console=console, transient=True, disable=not console.is_terminal)

    return track


def _check_report(report: Path | None) -> None:
    """Told before the minutes that it takes."""
    if report is not None and (report.is_dir() or not report.resolve().parent.is_dir()):
        found = "a folder" if report.is_dir() else f"no folder {report.parent}"
        raise SettingsError(f"report {report}", found=found, expected="a file to write, in a folder that is there")


def _command(part: str, data: Path, model: Path | None) -> Command:
    """Names alone: where the files lie is nobody's business who reads the page."""
    chosen = "" if model is None else f" --model {shlex.quote(model.resolve().name)}"
    return Command(data=data.name, line=f"affectstream evaluate {part} --data {shlex.quote(data.name)}{chosen}")


def _tell(
    model: SegmentModel, splits: Mapping[str, JudgedSplit], command: Command, *, as_json: bool, report: Path | None
) -> None:
    """The figures first: a page that can't be written takes nothing of what was computed with it."""
    from deploy.cli.render import print_figures
    from operators.evaluation.judgement import figures_of, plain_figures

    figures = {name: figures_of(split) for name, split in splits.items()}
    if as_json:
        print_figures({name: plain_figures(of) for name, of in figures.items()}, as_json=True)
    else:
        for name, split in splits.items():
            _print_split(name, split, figures[name])
    if report is None:
        return
    from operators.evaluation.report import Subject, report_page

    subject = Subject(model=model.name, digest=model.digest, licence=model.licence, data=command.data, command=command.line)
    try:
        report.write_text(report_page(subject, splits, figures), encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"report {report}", found=error.strerror, expected="a file to write") from error


def _print_split(name: str, split: JudgedSplit, figures: Mapping[str, Figure]) -> None:
    """A table of the figures, and one of which class was taken for which."""
    from rich import box
    from rich.table import Table

    from deploy.cli import terminal

    table = Table("figure", box=box.SIMPLE_HEAD, title=terminal.printable(name), title_justify="left")
    for heading in ("value", "95 % interval"):
        table.add_column(heading, justify="right")
    for figure_name, figure in figures.items():
        table.add_row(figure_name, _number(figure.value), _interval(figure))
    labels = split.judged.labels
    confusion = Table("true \\ said", box=box.SIMPLE_HEAD)
    for label in labels:
        confusion.add_column(label[:4], justify="right")
    for label, row in zip(labels, split.judged.confusion, strict=True):
        confusion.add_row(label, *map(str, row))
    console = terminal.stdout()
    console.print(table)
    console.print(confusion)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else "not defined" if value != value else f"{value:.3f}"


def _interval(figure: Figure) -> str:
    return "" if figure.low is None or figure.high is None else f"{_number(figure.low)} to {_number(figure.high)}"
