"""Corrected stamps of real Lab Streaming Layer recordings against pyxdf's, which sees the whole recording at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.timeline.clock import DeviceClock, Verdict
from stream.timeline.time import from_seconds, to_seconds

pyxdf = pytest.importorskip("pyxdf")

NANOSECOND = 1e-9
SLEWED_S = 1.0
"""Long enough for a correction of half a millisecond."""
OFFSET_EVERY_S = 5.0
"""Between two clock offsets of Lab Streaming Layer."""


def _load(path: Path, *, synchronized: bool) -> list[dict[str, Any]]:
    streams, _ = pyxdf.load_xdf(path, synchronize_clocks=synchronized, dejitter_timestamps=False)
    return streams


def _rounds(times: np.ndarray, breaks: np.ndarray) -> list[np.ndarray]:
    """Stamps (n,) in seconds, cut where the clock was reset."""
    return np.split(times, breaks + 1)


def _live(stream: dict[str, Any]) -> tuple[np.ndarray, int]:
    """Seconds (n,) of session time of all stamps, converted as they come, and how many resets were told.

    What comes before the first offset of an epoch, or while one is held, waits; nothing is corrected afterwards.
    """
    stamps, offsets = np.asarray(stream["time_stamps"]), np.asarray(stream["clock_times"])
    values = dict(zip(offsets, stream["clock_values"], strict=True))
    clock, told = DeviceClock(), 0
    session: list[float] = []
    rounds = zip(
        _rounds(stamps, np.flatnonzero(np.diff(stamps) < 0)),
        _rounds(offsets, np.flatnonzero(np.diff(offsets) < 0)),
        strict=True,
    )
    for epoch_stamps, epoch_offsets in rounds:
        waiting: list[float] = []
        # An offset is known when it is asked for: it stands before the stamps that come after it.
        events = sorted([(t, 0) for t in epoch_offsets] + [(t, 1) for t in epoch_stamps])
        knows = False
        for at, kind in events:
            if kind == 1:
                waiting.append(at)
            else:
                verdict = clock.observe_offset(from_seconds(at), from_seconds(values[at]))
                told += verdict is Verdict.RESET
                knows = verdict is not Verdict.HELD
            if knows:
                session += [to_seconds(clock.convert(from_seconds(stamp)).session_ns) for stamp in waiting]
                waiting.clear()
        assert not waiting
    return np.array(session), told


def test_stamps_across_a_reset_agree_with_pyxdf(shared_data: Path) -> None:
    path = shared_data / "xdf" / "clock_resets.xdf"
    raws, references = _load(path, synchronized=False), _load(path, synchronized=True)
    assert len(raws) == 2
    for raw, reference in zip(raws, references, strict=True):
        stamps, offsets = np.asarray(raw["time_stamps"]), np.asarray(raw["clock_times"])
        session, told = _live(raw)
        assert told == 1
        first = 0
        for part, times, values in zip(
            _rounds(stamps, np.flatnonzero(np.diff(stamps) < 0)),
            _rounds(offsets, np.flatnonzero(np.diff(offsets) < 0)),
            _rounds(np.asarray(raw["clock_values"]), np.flatnonzero(np.diff(offsets) < 0)),
            strict=True,
        ):
            here = slice(first, first + len(part))
            first += len(part)
            theirs = np.asarray(reference["time_stamps"])[here]
            # pyxdf's straight line over this part, seen through its stamps, and how far the offsets beside them lie off it.
            slope, intercept = np.polyfit(part - part[0], theirs - part, 1)
            beside = (times >= part[0] - OFFSET_EVERY_S) & (times <= part[-1] + OFFSET_EVERY_S)
            residual = (values - (intercept + slope * (times - part[0])))[beside]
            difference = np.abs(session[here] - theirs)
            # Around the first offset the line runs at a rate that nobody can know before the second, which is slewed to.
            unknown = np.where(part < times[1] + SLEWED_S, np.abs(slope * (part - times[0])), 0)
            assert np.all(np.diff(session[here]) >= 0)
            assert np.median(difference) <= np.sqrt(np.mean(residual**2))
            assert np.all(difference - unknown <= np.abs(residual).max() + NANOSECOND)


def test_a_constant_shift_is_found_exactly(shared_data: Path) -> None:
    path = shared_data / "xdf" / "minimal.xdf"
    pairs = zip(_load(path, synchronized=False), _load(path, synchronized=True), strict=True)
    pairs = [(raw, reference) for raw, reference in pairs if len(raw["clock_times"]) and len(raw["time_stamps"])]
    assert pairs
    for raw, reference in pairs:
        clock = DeviceClock()
        for at, value in zip(raw["clock_times"], raw["clock_values"], strict=True):
            assert clock.observe_offset(from_seconds(at), from_seconds(value)) is Verdict.FITS
        ours = np.array([to_seconds(clock.convert(from_seconds(stamp)).session_ns) for stamp in raw["time_stamps"]])
        assert np.abs(ours - np.asarray(reference["time_stamps"])).max() < 1e-6
