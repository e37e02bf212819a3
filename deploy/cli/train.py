"""`affectstream train`: trains a part of a model on a data set, and puts it into a model folder."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.device import DeviceOption, check_device
from stream.errors import MissingExtraError

app = typer.Typer(help="Train a part of a model; minutes to an hour on two cores.", no_args_is_help=True)

Output = Annotated[
    Path, typer.Option("--output", help="The model folder to put the part into; a new one begins as the one that ships.")
]
NEW_MODEL = Path("model")
"""Where a part goes when nobody says: in the folder one is in."""
NEW_SPEAKER = Path("speaker")
Epochs = Annotated[int, typer.Option("--epochs", min=1, help="Times through the data.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of everything random.")]
Alone = Annotated[bool, typer.Option("--alone", help="Begin a new folder with this part alone.")]


@app.command()
def face(
    data: Annotated[Path, typer.Option("--data", help="FER2013: the folder with faces48.npz.")],
    output: Output = NEW_MODEL,
    epochs: Epochs = 112,
    seeds: Annotated[
        int,
        typer.Option("--seeds", min=1, help="Trained one after the other, to see how figures vary; the model is the first."),
    ] = 1,
    device: DeviceOption = "cpu",
    seed: Seed = 0,
    alone: Alone = False,
) -> None:
    """The face network and its head, on FER2013: an hour or two a seed on one core; goes on where it was broken off."""
    _one_thread()
    check_device(device)
    from operators.training.face import train_face

    _show(train_face(data, output, epochs=epochs, seeds=seeds, device=device, seed=seed, alone=alone), output)


@app.command()
def speech(
    data: Annotated[Path, typer.Option("--data", help="RAVDESS: the folder with clips.csv.")],
    output: Output = NEW_MODEL,
    epochs: Epochs = 24,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Trained one after the other; the model is their mean.")] = 5,
    folds: Annotated[
        int, typer.Option("--folds", help="Trainings that each leave actors out, to judge by; 0: none.", min=0, max=18)
    ] = 6,
    device: DeviceOption = "cpu",
    seed: Seed = 0,
    alone: Alone = False,
) -> None:
    """Attention and a head on speech, on RAVDESS: minutes, half of them for features; goes on where it was broken off."""
    _one_thread()
    check_device(device)
    from rich.progress import track

    from operators.training.speech import train_speech

    metrics = train_speech(
        data, output, epochs=epochs, seeds=seeds, folds=folds, device=device, seed=seed, alone=alone, track=track
    )
    _show(metrics, output)


@app.command()
def text(
    data: Annotated[Path, typer.Option("--data", help="The folder that holds mosi/ (CMU-MOSI) and meld/ (MELD).")],
    output: Output = NEW_MODEL,
    epochs: Epochs = 3,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Trained one after the other; the model is their mean.")] = 1,
    device: DeviceOption = "cpu",
    seed: Seed = 0,
    alone: Alone = False,
) -> None:
    """Adapters of the text encoder and heads, on CMU-MOSI and MELD: minutes a seed; goes on where it was broken off."""
    _one_thread()
    check_device(device)
    from rich.progress import track

    from operators.training.text import train_text

    metrics = train_text(data, output, epochs=epochs, seeds=seeds, device=device, seed=seed, alone=alone, track=track)
    _show(metrics, output)


@app.command()
def fusion(
    data: Annotated[Path, typer.Option("--data", help="The folder that holds ravdess/, meld/, fer2013/ and mosi/.")],
    output: Output = NEW_MODEL,
    seed: Seed = 0,
) -> None:
    """How far words are trusted beside the voice, on RAVDESS's clips and composed ones: a minute; again after each part."""
    _one_thread()
    from rich.progress import track

    from operators.training.fusion import train_fusion

    _show(train_fusion(data, output, seed=seed, track=track), output)


@app.command()
def speaker(
    data: Annotated[Path, typer.Option("--data", help="GRID: the folder with clips *.mpg of people who talk.")],
    output: Annotated[Path, typer.Option("--output", help="The folder for its weights, description and card.")] = NEW_SPEAKER,
) -> None:
    """Who of several people is heard, on clips of GRID composed side by side: minutes."""
    _one_thread()
    from operators.training.speaker import train_speaker

    _show(
        {f"{group}: {name}": value for group, of in train_speaker(data, output).items() for name, value in of.items()}, output
    )


def _one_thread() -> None:
    """The networks are small: with two threads on a busy machine each step takes longer than with one."""
    if importlib.util.find_spec("lightning") is None:
        raise MissingExtraError("training", found="no package lightning", fix="pip install 'affectstream[train]'")
    import torch

    torch.set_num_threads(1)


def _show(metrics: dict[str, float], output: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("validation", "value", title=str(output), title_justify="left")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.3f}")
    Console().print(table)
