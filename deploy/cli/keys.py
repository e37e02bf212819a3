"""`affectstream keys`: keys for publishers and subscribers that meet beyond one machine."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stream.publishing.keys import Authorised, PublicKey, SecretKey

app = typer.Typer(help="Keys for publishers and subscribers that meet beyond one machine.", no_args_is_help=True)


class Reads(StrEnum):
    """What a key may read."""

    FULL = "full"
    REDACTED = "redacted"


@app.callback()
def keys() -> None:
    """Keys for publishers and subscribers that meet beyond one machine."""


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of the program or person that it is for.")],
    folder: Annotated[Path, typer.Option(help="Where the two files are put.", metavar="DIR")] = Path(),
    read: Annotated[Reads, typer.Option(help="All predictions, or those without words.")] = Reads.FULL,
) -> None:
    """Make NAME.key, which stays with its owner, and NAME.pub, which goes into a publisher's folder of authorised keys."""
    from deploy.cli import terminal
    from stream.publishing.keys import new_key

    for path in new_key(name, folder, read.value):
        terminal.stdout().print(str(path), soft_wrap=True)


def publisher_keys(key: Path | None, authorised: Path | None) -> tuple[SecretKey | None, Authorised | None]:
    """The keys of a publisher out of its options. Raises `InputError`."""
    from stream.publishing.keys import Authorised, secret_key

    return None if key is None else secret_key(key), None if authorised is None else Authorised(authorised)


def subscriber_keys(key: Path | None, publisher: Path | None) -> tuple[SecretKey | None, PublicKey | None]:
    """The keys of a subscriber out of its options. Raises `InputError`."""
    from stream.publishing.keys import public_key, secret_key

    return None if key is None else secret_key(key), None if publisher is None else public_key(publisher)
