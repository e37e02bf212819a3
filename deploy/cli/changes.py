"""What a replay predicts otherwise than the recorded session: a row for each field of each segment, and a sum."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
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


class SegmentCounts(NamedTuple):
    """Segments of the session and of the replay, and in what those differ that are in both: the same, or the most overlapping.

    One that differs in several ways counts in each; `otherwise` is any other field.
    """

    recorded: int
    replayed: int
    only_recorded: int
    only_replayed: int
    span: int
    words: int
    otherwise: int


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

    def segments(self, *, complete: bool) -> SegmentCounts:
        """The segments by their last state that is not provisional. `complete`: as in `differing`."""
        old, new = _last_states(self._recorded), _last_states(self._replayed)
        if not complete and old:  # what the session never came to is no difference
            until_ns = max(result.end_ns for result in old)
            new = [result for result in new if result.start_ns < until_ns]
        pairs = list(_pairs(old, new))
        changed = [_changed_kinds(before, after) for before, after in pairs]
        return SegmentCounts(
            recorded=len(old),
            replayed=len(new),
            only_recorded=len(old) - len(pairs),
            only_replayed=len(new) - len(pairs),
            span=sum("span" in kinds for kinds in changed),
            words=sum("words" in kinds for kinds in changed),
            otherwise=sum("otherwise" in kinds for kinds in changed),
        )

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
    print_notice(console, _summed_up(changes.segments(complete=complete)))
    return differing


def _summed_up(counts: SegmentCounts) -> str:
    """One line."""
    ways = [(counts.span, "span"), (counts.words, "words"), (counts.otherwise, "other fields")]
    alone = [(counts.only_recorded, "only recorded"), (counts.only_replayed, "only in the replay")]
    differ = ", ".join(f"{count} in {way}" for count, way in ways if count)
    parts = [f"differ: {differ}"] if differ else []
    parts += [f"{count} {where}" for count, where in alone if count]
    head = f"{counts.recorded} segments recorded, {counts.replayed} in the replay; "
    return head + ("; ".join(parts) if parts else "they differ in revisions before their last alone")


def _last_states(results: Mapping[Key, Result]) -> list[Result]:
    """Of each segment the last revision that is not provisional, in order of start."""
    last: dict[tuple[int, str, int], Result] = {}
    for key in sorted(results, key=lambda key: key[3]):
        if results[key].status != "provisional":
            last[key[:3]] = results[key]
    return sorted(last.values(), key=lambda result: (result.lane, result.start_ns))


def _pairs(old: Sequence[Result], new: Sequence[Result]) -> Iterator[tuple[Result, Result]]:
    """Those that begin together, then of the others those that overlap the most; each is in one pair at most."""
    starts = [(result.lane, result.start_ns) for result in new]
    overlaps = []
    for i, before in enumerate(old):
        # Both are in order of start: those around it, not all, or hours of segments would take minutes.
        k = bisect_left(starts, (before.lane, before.start_ns))
        while k > 0 and starts[k - 1][0] == before.lane and new[k - 1].end_ns > before.start_ns:
            k -= 1
        while k < len(new) and starts[k] <= (before.lane, max(before.start_ns, before.end_ns - 1)):
            overlap_ns = _overlap_ns(before, new[k])
            if before.start_ns == new[k].start_ns or overlap_ns > 0:
                overlaps.append((before.start_ns == new[k].start_ns, overlap_ns, i, k))
            k += 1
    taken_old, taken_new = set[int](), set[int]()
    for _, _, i, k in sorted(overlaps, key=lambda each: (not each[0], -each[1], each[2], each[3])):
        if i not in taken_old and k not in taken_new:
            taken_old.add(i)
            taken_new.add(k)
            yield old[i], new[k]


def _overlap_ns(before: Result, after: Result) -> int:
    return min(before.end_ns, after.end_ns) - max(before.start_ns, after.start_ns)


def _changed_kinds(before: Result, after: Result) -> set[str]:
    old, new = (_flat(msgspec.to_builtins(result)) for result in (before, after))
    fields = {field for field in old.keys() | new.keys() if old.get(field) != new.get(field)}
    return {_kind(field) for field in fields if not field.startswith("model.")}


def _kind(field: str) -> str:
    if field in ("start_ns", "end_ns", "source_epoch"):
        return "span"
    return "words" if field == "transcript.text" else "otherwise"


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
