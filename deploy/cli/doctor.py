"""`affectstream doctor`: what is installed, what is missing, and how to mend it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from stream.errors import AffectstreamError

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from rich.text import Text

    from operators.model_description import WeightsDescription

State = Literal["well", "optional", "broken"]

OLDEST_PYTHON = (3, 11)
FREE_BYTES = 2 << 30
"""For caches and recordings; installing takes more, and the Makefile looks for it."""
DEBIAN_PACKAGES = {
    "libGL.so": "libgl1",
    "libglib-2.0.so": "libglib2.0-0",
    "libgthread-2.0.so": "libglib2.0-0",
    "libxcb": "libxcb1",
}
FORMATS = ("mov", "matroska", "mpegts", "mpeg", "avi", "wav", "mp3", "ogg", "flac")
DECODERS = ("h264", "hevc", "vp8", "vp9", "mpeg4", "aac", "opus", "vorbis", "mp3")
IMPORT_TIMEOUT_S = 300
LOOPBACK_TIMEOUT_S = 10
MARKS = {"well": ("✓", "green"), "optional": ("·", "dim"), "broken": ("✗", "bold red")}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at; `fix` where something can be done."""

    thing: str
    state: State
    found: str
    fix: str = ""


def doctor(
    clap: Annotated[
        str | None, typer.Option("--clap", help="Measure how far the picture lags behind the sound of a clap.", metavar="FILE")
    ] = None,
) -> None:
    """Look at what Affectstream needs on this machine. The exit code is 1 where something is broken."""
    from rich.table import Table
    from rich.text import Text

    from deploy.cli import terminal

    out, err = terminal.stdout(), terminal.stderr()
    if clap is not None:
        from deploy.cli.doctor_clap import clap_lag, described

        with terminal.working(err, "Listening"):
            lag = clap_lag(clap)
        out.print(Text(described(lag)), soft_wrap=True)
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(width=1)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    broken = 0
    with terminal.working(err, "Looking"):
        for finding in findings():
            mark, style = MARKS[finding.state]
            broken += finding.state == "broken"
            table.add_row(Text(mark, style=style), finding.thing, _described(finding))
    out.print(table)
    if broken:
        out.print(Text(f"\n{broken} {'thing needs' if broken == 1 else 'things need'} mending", style="bold red"))
        raise typer.Exit(1)
    out.print(Text("\nAll that is needed is there", style="green"))


def _described(finding: Finding) -> Text:
    from rich.text import Text

    from deploy.cli.terminal import printable

    text = Text(printable(finding.found), style="dim" if finding.state == "optional" else "")
    if finding.fix:
        text.append(f"\n→ {finding.fix}", style="" if finding.state == "broken" else "dim")
    return text


def findings() -> Iterator[Finding]:
    """Everything that is looked at, in order."""
    yield from check_python()
    yield from check_packages()
    yield from check_opencv()
    yield from check_torch()
    yield from check_base_weights()
    yield from check_model()
    yield from check_media()
    yield from check_machine()
    yield from check_zeromq()


def check_python() -> Iterator[Finding]:
    """The interpreter's version."""
    good = sys.version_info >= OLDEST_PYTHON
    oldest = ".".join(map(str, OLDEST_PYTHON))
    yield Finding(
        thing="Python",
        state="well" if good else "broken",
        found=f"{platform.python_version()} ({sys.executable})",
        fix="" if good else f"install Python {oldest} or newer",
    )


def check_packages() -> Iterator[Finding]:
    """What the distribution requires, and its extras, against what is installed."""
    from packaging.requirements import Requirement

    try:
        requirements = [Requirement(line) for line in metadata.requires("affectstream") or ()]
        extras = metadata.metadata("affectstream").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        yield Finding(
            thing="packages", state="optional", found="affectstream runs from its folder, not installed", fix="pip install -e ."
        )
        return
    required = [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    problems = [problem for r in required if (problem := _problem(r)) is not None]
    if not problems:
        yield Finding(thing="packages", state="well", found=f"{len(required)} required, all in the versions wanted")
    yield from problems
    for extra in extras:
        wanted = [r for r in requirements if r.marker is not None and r not in required and r.marker.evaluate({"extra": extra})]
        missing = [r.name for r in wanted if _problem(r) is not None]
        found = f"without {', '.join(missing)}" if missing else ", ".join(r.name for r in wanted)
        fix = f"for it: pip install 'affectstream[{extra}]'" if missing else ""
        yield Finding(thing=f"extra {extra}", state="optional" if missing else "well", found=found, fix=fix)


def _problem(requirement: Requirement) -> Finding | None:
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        version = None
    if version is not None and requirement.specifier.contains(version, prereleases=True):
        return None
    wanted = f"{requirement.name}{requirement.specifier}"
    found = f"{version}, expected {requirement.specifier}" if version else "not installed"
    return Finding(thing=requirement.name, state="broken", found=found, fix=f"pip install '{wanted}'")


def check_opencv() -> Iterator[Finding]:
    """OpenCV needs libraries of the system, which pip does not bring."""
    yield _import("OpenCV", "import cv2; print(cv2.__version__)", _debian_fix)


def check_torch() -> Iterator[Finding]:
    """PyTorch and torchaudio have to be of one build."""
    yield _import(
        "PyTorch",
        "import torch, torchaudio; print(f'{torch.__version__}, torchaudio {torchaudio.__version__}, '"
        "f\"{'CUDA' if torch.cuda.is_available() else 'CPU only'}\")",
        lambda _: "pip install --force-reinstall torch torchaudio",
    )


def _import(thing: str, program: str, fix: Callable[[str], str]) -> Finding:
    """Runs a program in a process of its own: what fails to load may take its process with it."""
    try:
        finished = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding(thing=thing, state="broken", found=f"no answer within {IMPORT_TIMEOUT_S} s", fix=fix(""))
    if finished.returncode == 0:
        return Finding(thing=thing, state="well", found=finished.stdout.strip())
    last = (finished.stderr.strip().splitlines() or [f"ended with {finished.returncode}"])[-1]
    return Finding(thing=thing, state="broken", found=last, fix=fix(last))


def _debian_fix(message: str) -> str:
    library = re.search(r"(lib[\w.+-]+?\.so[\w.]*)", message)
    if library is None:
        return "pip install --force-reinstall opencv-python"
    package = next((p for name, p in DEBIAN_PACKAGES.items() if library[1].startswith(name)), None)
    wanted = sorted(set(DEBIAN_PACKAGES.values()))
    return "on Debian: apt-get install " + " ".join(wanted if package else [f"(what holds {library[1]})", *wanted])


def check_base_weights() -> Iterator[Finding]:
    """Weights inside installed packages are the ones that were tried."""
    from operators.packaged_weights import ALL, verified_folder

    for weights in ALL:
        thing = f"weights of {weights.package}"
        try:
            verified_folder(weights)
        except AffectstreamError as error:
            yield _broken(thing, error)
        else:
            yield Finding(thing=thing, state="well", found=f"as pinned, licence {weights.licence}")


def check_model() -> Iterator[Finding]:
    """The model that ships and the speaker's weights beside it: whole, and what each of their weights may be used for."""
    import operators
    from operators.faces.speaker_folder import DEFAULT_SPEAKER, WEIGHTS_FILE, load_speaker_weights, read_speaker_description
    from operators.model_description import read_description
    from operators.packaged_weights import check_digest

    folder = Path(next(iter(operators.__path__))) / "weights" / "default"
    try:
        description = read_description(folder)
        for name, weights in description.weights.items():
            check_digest(folder / name, weights.sha256)
            yield _as_pinned(name, weights)
        load_speaker_weights()
        yield _as_pinned(WEIGHTS_FILE, read_speaker_description(DEFAULT_SPEAKER).weights)
    except AffectstreamError as error:
        yield _broken("model", error)
        return
    yield Finding(
        thing="model", state="well", found=f"{description.name}; permitted use as a whole: {description.permitted_use}"
    )


def _as_pinned(name: str, weights: WeightsDescription) -> Finding:
    found = f"as pinned, {weights.licence}; permitted use: {weights.use} ({weights.data})"
    return Finding(thing=name, state="well", found=found)


def check_media() -> Iterator[Finding]:
    """What the bundled FFmpeg opens."""
    try:
        import av
        import av.codec
    except ImportError as error:
        yield Finding(thing="FFmpeg", state="broken", found=str(error), fix="pip install --force-reinstall av")
        return
    formats = {name for entry in av.formats_available for name in entry.split(",")}
    missing = sorted({*FORMATS} - formats | {*DECODERS} - set(av.codecs_available))
    version = ".".join(map(str, av.library_versions["libavformat"]))
    if missing:
        yield Finding(
            thing="FFmpeg", state="broken", found=f"without {', '.join(missing)}", fix="pip install --force-reinstall av"
        )
    else:
        yield Finding(thing="FFmpeg", state="well", found=f"libavformat {version}, {len(formats)} formats")


def check_machine() -> Iterator[Finding]:
    """Cores and free disk."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding(thing="cores", state="well", found=f"{cores} of {platform.machine()}")
    free = shutil.disk_usage(Path.home()).free
    enough = free >= FREE_BYTES
    yield Finding(
        thing="free disk",
        state="well" if enough else "broken",
        found=f"{free / 1e9:.0f} GB",
        fix="" if enough else f"free {FREE_BYTES / 1e9:.0f} GB",
    )


def check_zeromq() -> Iterator[Finding]:
    """A prediction from a publisher to a subscriber on this machine."""
    from stream.prediction import Prediction, Result
    from stream.publishing.publisher import Publisher
    from stream.publishing.subscriber import Subscriber

    result = Result(session="doctor", kind="window", start_ns=0, end_ns=1, revision=1, status="final", reason="end")
    try:
        with (
            Publisher("tcp://127.0.0.1:*") as publisher,
            Subscriber(publisher.endpoint, timeout=LOOPBACK_TIMEOUT_S) as subscriber,
        ):
            publisher.publish(Prediction(result=result))
            received = next(iter(subscriber))
    except AffectstreamError as error:
        yield _broken("ZeroMQ", error)
        return
    good = received == Prediction(result=result)
    yield Finding(thing="ZeroMQ", state="well" if good else "broken", found="a prediction went round over loopback")


def _broken(thing: str, error: AffectstreamError) -> Finding:
    return Finding(thing=thing, state="broken", found=str(error))
