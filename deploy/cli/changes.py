"""What a replay predicts otherwise than the recorded session: a row for each field of each segment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from deploy.cli.render import clock
from deploy.cli.terminal import print_notice, printable
from stream.prediction import Prediction, Result

_LONGEST = 60
"""Characters of a value that the table shows."""

Key = tuple[int, str, int, int, str]


class Change(NamedTuple):
    """One field of one revision; None where the one or the other has no such field, or no such revision."""

    result: Result
    field: str
    recorded: Any
    replayed: Any


class Changes:
    """Compares the results of two runs by the identity, number and status of each revision; `measured` is left out."""

    def __init__(self) -> None:
        self._recorded: dict[Key, Result] = {}
        self._replayed: dict[Key, Result] = {}

    def recorded(self, prediction: Prediction) -> None:
        """Takes a prediction out of the recording."""
        self._recorded[_key(prediction.result)] = prediction.result

    def replayed(self, prediction: Prediction) -> None:
        """Takes a prediction of the replay."""
        self._replayed[_key(prediction.result)] = prediction.result

    @property
    def compared(self) -> int:
        """How many predictions the recording holds."""
        return len(self._recorded)

    def differing(self, *, complete: bool) -> int:
        """How many revisions differ. `complete`: the recorded session came to its end, so that none may be missing in it."""
        keys = self._recorded.keys() | self._replayed.keys() if complete else self._recorded.keys()
        return sum(self._recorded.get(key) != self._replayed.get(key) for key in keys)

    def changes(self, *, complete: bool) -> Iterator[Change]:
        """Every field that differs, in order of the segments."""
        keys = self._recorded.keys() | self._replayed.keys() if complete else self._recorded.keys()
        for key in sorted(keys, key=lambda k: (k[0], k[2], k[3])):
            old, new = self._recorded.get(key), self._replayed.get(key)
            if old is None or new is None:
                one = old or new
                assert one is not None
                yield Change(one, "revision", old and one.status, new and one.status)
                continue
            before, after = _flat(msgspec.to_builtins(old)), _flat(msgspec.to_builtins(new))
            for field in dict.fromkeys([*before, *after]):
                if before.get(field) != after.get(field):
                    yield Change(new, field, before.get(field), after.get(field))


def print_changes(console: Console, changes: Changes, *, complete: bool, same_model: bool) -> int:
    """Says whether the replay is equal to what was recorded, or lists the differences; gives how many revisions differ."""
    if not changes.compared:
        print_notice(console, "the recording holds no predictions to compare with")
        return 0
    differing = changes.differing(complete=complete)
    if not differing:
        print_notice(console, f"equal to the {changes.compared} predictions that were recorded")
        return 0
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", padding=(0, 1), pad_edge=False, show_edge=False)
    for heading in ("time", "status", "field", "recorded", "replayed"):
        table.add_column(heading)
    for result, field, old, new in changes.changes(complete=complete):
        # That the model is another one is no news.
        if not same_model and field.startswith("model."):
            continue
        span = f"{clock(result.start_ns)}–{clock(result.end_ns)}"
        table.add_row(span, result.status, field, _shown(old), _shown(new))
    console.print(table)
    print_notice(console, f"{differing} of {changes.compared} predictions differ from those that were recorded")
    return differing


def _key(result: Result) -> Key:
    return result.source_epoch, result.lane, result.start_ns, result.revision, result.status


def _flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value is not None:
            flat[prefix + name] = value
    return flat


def _shown(value: Any) -> str:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    text = printable(text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
