"""What a report shows, out of a recording or out of predictions as JSON lines."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from stream.errors import InputError, PublishingError
from stream.prediction import Prediction, Result, decode
from stream.recording.entries import Arrived, CaughtUp, Shed
from stream.recording.reader import Recording
from stream.timeline.packets import EpochStart, StreamActive, StreamIdle
from stream.timeline.time import NS_PER_SECOND

MCAP_MAGIC: Final = b"\x89MCAP"
FINAL: Final = ("final", "amended", "abandoned")
LARGEST_LINE: Final = 8 << 20
"""Bytes of a prediction: as on the wire."""


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened at one instant of session time (seconds)."""

    at_s: float
    kind: str
    text: str


class ReportContent(msgspec.Struct, frozen=True, kw_only=True):
    """Everything on the page but the media. `results`: the newest final state of each segment, in order of start."""

    session: str
    source: str
    results: list[Result]
    markers: list[Marker]
    dispositions: dict[str, Any]
    notices: list[str]
    seconds: float


def content_of(path: Path) -> tuple[ReportContent, Recording | None]:
    """The content of a file, told by what it holds, and the recording where it is one. Raises `InputError`."""
    try:
        with path.open("rb") as file:
            is_recording = file.read(len(MCAP_MAGIC)) == MCAP_MAGIC
    except OSError as error:
        raise InputError(f"report of {path}", found=error.strerror, expected="a recording or JSON lines") from error
    return _of_recording(path) if is_recording else (_of_lines(path), None)


def newest(predictions: Iterable[Prediction]) -> list[Result]:
    """The newest final state of each segment, in order of start."""
    found: dict[tuple[int, str, int], Result] = {}
    for prediction in predictions:
        result = prediction.result
        if result.status in FINAL:
            found[result.source_epoch, result.lane, result.start_ns] = result
    return sorted(found.values(), key=lambda r: (r.start_ns, r.end_ns))


def _of_recording(path: Path) -> tuple[ReportContent, Recording]:
    recording = Recording(path)
    results = newest(recording.predictions())
    reached_ns = 0
    markers: list[Marker] = []
    for arrived in recording.arrived():
        reached_ns = max(reached_ns, arrived.arrival_ns)
        markers += _marker(arrived)
    end = recording.end
    notices = list(end.notices) if end else []
    notices += [line for line in (recording.cut, end.cut if end else None) if line]
    if end is not None:
        notices += [f"{count} of {topic} could not be written in time" for topic, count in end.lost.items()]
    if not results:
        notices.append("nothing was predicted while this was recorded: affectstream replay --output gives predictions")
    content = ReportContent(
        session=recording.head.session,
        source=recording.head.source,
        results=results,
        markers=markers + _of_results(results),
        dispositions=msgspec.to_builtins(end.dispositions) if end else {},
        notices=notices,
        seconds=max([reached_ns, *(r.end_ns for r in results)]) / NS_PER_SECOND,
    )
    return content, recording


def _of_lines(path: Path) -> ReportContent:
    predictions: list[Prediction] = []
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LARGEST_LINE):
            number += 1
            if not line.strip():
                continue
            try:
                predictions.append(decode(line))
            except PublishingError as error:
                raise InputError(
                    f"report of {path}, line {number}",
                    found=error.found,
                    expected="a prediction, as affectstream analyze --output writes them",
                ) from error
    if not predictions:
        raise InputError(f"report of {path}", found="no predictions", expected="some")
    session = predictions[0].result.session
    own = [p for p in predictions if p.result.session == session]
    others = len({p.result.session for p in predictions}) - 1
    results = newest(own)
    return ReportContent(
        session=session,
        source=path.name,
        results=results,
        markers=_of_results(results),
        dispositions={},
        notices=[f"{others} other sessions in the file are left out"] if others else [],
        seconds=max((p.result.end_ns for p in own), default=0) / NS_PER_SECOND,
    )


def _marker(arrived: Arrived) -> list[Marker]:
    entry, at_s = arrived.entry, arrived.arrival_ns / NS_PER_SECOND
    if isinstance(entry, EpochStart):
        return [Marker(at_s=entry.at_ns / NS_PER_SECOND, kind="epoch", text=f"source epoch {entry.epoch} begins")]
    if isinstance(entry, StreamIdle | StreamActive):
        is_idle = isinstance(entry, StreamIdle)
        return [
            Marker(
                at_s=at_s,
                kind="idle" if is_idle else "active",
                text=f"{entry.stream} {'falls silent' if is_idle else 'is back'}",
            )
        ]
    if isinstance(entry, Shed):
        what = "no prediction" if entry.silent else f"without {', '.join(entry.modalities)}"
        return [Marker(at_s=entry.start_ns / NS_PER_SECOND, kind="shed", text=f"behind: {what}")]
    if isinstance(entry, CaughtUp):
        return [Marker(at_s=entry.start_ns / NS_PER_SECOND, kind="amended", text="words made up for")]
    return []


def _of_results(results: list[Result]) -> list[Marker]:
    markers = [
        Marker(at_s=r.start_ns / NS_PER_SECOND, kind="hole", text="nothing is known") for r in results if r.kind == "hole"
    ]
    markers += [
        Marker(at_s=r.start_ns / NS_PER_SECOND, kind="amended", text=f"amended: {r.reason}")
        for r in results
        if r.status == "amended"
    ]
    return markers
