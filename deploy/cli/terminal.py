"""The two consoles of the command line, and text that comes from outside made safe for them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from stream.errors import AffectstreamError


class NobodyReadsError(Exception):
    """Whoever read standard output has closed it. Not a `BrokenPipeError`: typer would end the program with 1 for that."""


class _Console(Console):
    """A console that lets the command know when nobody reads any more."""

    def on_broken_pipe(self) -> None:
        raise NobodyReadsError


def stdout() -> Console:
    """The console on standard output: colours and control codes on a terminal only."""
    return _Console(file=sys.stdout, markup=False, highlight=False, emoji=False)


def stderr() -> Console:
    """The console on standard error."""
    return _Console(file=sys.stderr, markup=False, highlight=False, emoji=False)


def printable(text: str) -> str:
    """Text from outside in one line, without anything that a terminal would obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def print_error(error: AffectstreamError) -> None:
    """One line on standard error."""
    label = Text("affectstream: ", style="bold red")
    stderr().print(label + Text(printable(str(error))), soft_wrap=True)


def print_notice(console: Console, line: str) -> None:
    """One quiet line for people."""
    console.print(Text(printable(line), style="dim"), soft_wrap=not console.is_terminal)


@contextmanager
def working(console: Console, what: str) -> Iterator[None]:
    """A spinner while something takes seconds; nothing where nobody looks."""
    if not console.is_terminal:
        yield
        return
    with console.status(Text(what, style="dim")):
        yield
