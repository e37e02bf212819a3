"""How a training shows that it goes on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Track(Protocol):
    """Goes through a sequence and shows how far it has come; `rich.progress.track` is one."""

    def __call__(self, sequence: Iterable[Item], description: str, /) -> Iterable[Item]:
        """The same items."""
        ...


def silently(sequence: Iterable[Item], description: str) -> Iterable[Item]:  # noqa: ARG001 - as Track has it
    """Shows nothing."""
    return sequence
