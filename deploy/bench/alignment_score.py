"""Scores what was made of a trace against its truth; pandas' `merge_asof` on true times is the oracle of placement."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from deploy.bench.alignment import Alignment, instant_ns
from deploy.bench.alignment_trace import Trace, modality_of
from stream.errors import MissingExtraError
from stream.timeline.time import NS_PER_MS


class PerWindow(msgspec.Struct, frozen=True, kw_only=True):
    """A column an element a window, in order of start; a packet counts where it truly belongs."""

    start_ns: list[int]
    rightly: list[int]
    wrongly: list[int]
    late: list[int]
    never: list[int]
    delay_ms: list[float | None]
    """From the arrival of the last packet that belongs to the window to the state that was decided with it."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """Placement of all packets of a trace, and its cost."""

    packets: int
    rightly: int
    wrongly_explained: int
    """Off by no more than the uncertainty that was stated."""
    wrongly_unexplained: int
    late: int
    never: int
    twice: int
    """Placed in more than one window."""
    windows: int
    windows_lost: int
    """Of those that packets truly belong to."""
    refused: dict[str, int]
    delay_ms: list[float]
    """Median, 99th percentile and largest over the windows."""
    events_per_second: int | None
    peak_kb: int | None
    per_window: PerWindow | None


def score(trace: Trace, found: Alignment, *, peak_bytes: int | None = None) -> Score:
    """Scores `found`. Raises `MissingExtraError` without pandas."""
    pandas = _pandas()
    packets = _true_windows(pandas, trace)
    placed = pandas.DataFrame(
        [
            (stream, seq, window.start_ns)
            for window in found.windows
            for stream in window.packets
            for seq in window.packets[stream]
        ],
        columns=["stream", "seq", "placed_ns"],
    )
    twice = int(placed.duplicated(["stream", "seq"]).sum())
    packets = packets.merge(placed.drop_duplicates(["stream", "seq"]), how="left", on=["stream", "seq"])
    keys = list(zip(packets["stream"], packets["seq"], strict=True))
    is_placed = packets["placed_ns"].notna()
    right = packets["placed_ns"] == packets["window_ns"]
    late = ~is_placed & np.array([key in found.late for key in keys], dtype=bool)
    stated_ns = np.array([found.uncertainty_ns.get(key, 0) for key in keys], dtype=np.int64)
    placed_ns = packets["placed_ns"].fillna(0)
    before_ns = placed_ns - packets["instant_ns"]
    behind_ns = packets["instant_ns"] - (placed_ns + trace.header.window_ns - 1)
    explained = np.maximum(before_ns, behind_ns) <= stated_ns
    wrong = is_placed & ~right
    outcomes = packets.assign(rightly=right, wrongly=wrong, late=late, never=~is_placed & ~late)
    by_window = outcomes.groupby("window_ns").agg(
        rightly=("rightly", "sum"),
        wrongly=("wrongly", "sum"),
        late=("late", "sum"),
        never=("never", "sum"),
        needed_ns=("arrival_ns", "max"),
    )
    delays = [_delay_ms(found.decided_ns.get(start, []), needed) for start, needed in by_window["needed_ns"].items()]
    known = [delay for delay in delays if delay is not None]
    starts = {window.start_ns for window in found.windows}
    return Score(
        packets=len(packets),
        rightly=int(right.sum()),
        wrongly_explained=int((wrong & explained).sum()),
        wrongly_unexplained=int((wrong & ~explained).sum()),
        late=int(late.sum()),
        never=int(outcomes["never"].sum()),
        twice=twice,
        windows=len(found.windows),
        windows_lost=sum(start not in starts for start in by_window.index),
        refused=found.refused,
        delay_ms=[round(float(np.quantile(known, q)), 2) for q in (0.5, 0.99, 1)] if known else [],
        events_per_second=round(found.events / found.seconds) if found.seconds else None,
        peak_kb=None if peak_bytes is None else round(peak_bytes / 1024),
        per_window=PerWindow(
            start_ns=by_window.index.tolist(),
            **{name: by_window[name].tolist() for name in ("rightly", "wrongly", "late", "never")},
            delay_ms=delays,
        ),
    )


def _true_windows(pandas: Any, trace: Trace) -> Any:
    """Each packet with the window that its true instant lies in, in order of that instant."""
    modalities = {name: modality_of(name, stream) for name, stream in trace.header.streams.items()}
    packets = pandas.DataFrame(
        [(p.stream, p.seq, instant_ns(modalities[p.stream], p.start_ns, p.end_ns), p.arrival_ns) for p in trace.packets],
        columns=["stream", "seq", "instant_ns", "arrival_ns"],
    ).sort_values("instant_ns", kind="stable")
    first, last = (int(f) // trace.header.window_ns for f in (packets["instant_ns"].min(), packets["instant_ns"].max()))
    windows = pandas.DataFrame({"window_ns": np.arange(first, last + 1, dtype=np.int64) * trace.header.window_ns})
    return pandas.merge_asof(packets, windows, left_on="instant_ns", right_on="window_ns")


def _delay_ms(decided_ns: list[int], needed_ns: int) -> float | None:
    """From the last arrival to the first state decided since; None where none was, so that it came too late."""
    since = min((decided for decided in decided_ns if decided >= needed_ns), default=None)
    return None if since is None else round((since - needed_ns) / NS_PER_MS, 3)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise MissingExtraError(
            "scoring an alignment", found="no package pandas", fix="pip install 'affectstream[dev]'"
        ) from None
    return pandas
