"""Each disturbance alone and all together: every window once, every packet in its own."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import pytest

from deploy.bench.alignment import Alignment, Window, align, peak_bytes
from deploy.bench.alignment_disturbances import DISTURBANCES, WINDOW_NS, header, simulated_trace
from deploy.bench.alignment_score import score
from deploy.bench.alignment_soak import soak
from deploy.bench.alignment_trace import Trace, TracePacket
from stream.errors import MissingExtraError
from stream.timeline.time import NS_PER_MS, NS_PER_SECOND

pytest.importorskip("pandas")

LENGTH_NS = 60 * NS_PER_SECOND


def from_zero(trace: Trace) -> Trace:
    """The same with the first packet of each stream at zero: frames lie a few nanoseconds before borders of windows."""
    first: dict[str, int] = {}
    for packet in trace.packets:
        first[packet.stream] = min(first.get(packet.stream, packet.start_ns), packet.start_ns)

    def moved(event: Any) -> Any:
        if not isinstance(event, TracePacket) or event.stream == "words":
            return event
        by_ns = first[event.stream]
        return msgspec.structs.replace(
            event, start_ns=event.start_ns - by_ns, end_ns=event.end_ns - by_ns, arrival_ns=event.arrival_ns - by_ns
        )

    events = sorted(map(moved, trace.events), key=lambda event: event.arrival_ns)
    return Trace(header=trace.header, events=events)


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("name", DISTURBANCES)
def test_no_window_is_lost_and_no_packet_misplaced_but_for_what_is_stated(name: str, moved: bool) -> None:
    trace = simulated_trace(DISTURBANCES[name], LENGTH_NS, seed=11)
    trace = from_zero(trace) if moved else trace
    found = align(trace)
    scored = score(trace, found)
    starts = [window.start_ns for window in found.windows]
    assert starts == [k * WINDOW_NS for k in range(len(starts))]
    assert (scored.windows_lost, scored.never, scored.late, scored.twice, scored.wrongly_unexplained) == (0, 0, 0, 0, 0)
    assert scored.rightly + scored.wrongly_explained == scored.packets == len(trace.packets)
    assert scored.wrongly_explained <= (len(starts) if moved else 3)
    assert sum(scored.refused.values()) == sum(found.unclaimed.values()) == 0


def test_of_the_truth_only_lengths_are_read() -> None:
    trace = simulated_trace(DISTURBANCES["all_with_sound"], LENGTH_NS, seed=5)

    def lie(event: Any) -> Any:
        if not isinstance(event, TracePacket):
            return event
        by_ns = event.seq * 7 * NS_PER_SECOND
        return msgspec.structs.replace(event, start_ns=event.start_ns - by_ns, end_ns=event.end_ns - by_ns)

    lying = Trace(header=trace.header, events=list(map(lie, trace.events)))
    assert align(lying).windows == align(trace).windows


def test_what_holds_a_window_up_is_told() -> None:
    """Words that come 2 s late, though no longer than they are waited for, are in it, and the delay counts from them."""
    prompt, late = (
        score(t, align(t)) for t in (simulated_trace(DISTURBANCES[n], LENGTH_NS, 1) for n in ("drift", "words_late"))
    )
    assert prompt.per_window is not None
    assert all(delay is not None and 0 <= delay < 3_000 for delay in prompt.per_window.delay_ms)
    assert late.rightly == late.packets


def placed(*, seq: int, at_ns: int, window: int | None, stated_ns: int = 0, late: bool = False) -> tuple[Trace, Alignment]:
    """One frame and what became of it."""
    packet = TracePacket(stream="video", seq=seq, start_ns=at_ns, end_ns=at_ns, device_ns=0, arrival_ns=at_ns)
    filled = {} if window is None else {window: [seq]}
    windows = [
        Window(start_ns=k * WINDOW_NS, end_ns=(k + 1) * WINDOW_NS, packets={"video": filled.get(k, [])}) for k in range(3)
    ]
    found = Alignment(
        windows=windows,
        decided_ns={k * WINDOW_NS: [(k + 1) * WINDOW_NS + 5 * NS_PER_MS] for k in range(3)},
        uncertainty_ns={("video", seq): stated_ns},
        late={("video", seq)} if late else set(),
        refused={},
        unclaimed={},
        events=1,
        seconds=0.0,
    )
    return Trace(header=header(0), events=[packet]), found


@pytest.mark.parametrize(
    ("at_ns", "window", "stated_ns", "late", "outcome"),
    [
        (WINDOW_NS, 1, 0, False, "rightly"),
        (WINDOW_NS - 3, 1, 3, False, "wrongly_explained"),
        (WINDOW_NS - 3, 1, 2, False, "wrongly_unexplained"),
        (WINDOW_NS + 3, 0, 4, False, "wrongly_explained"),
        (WINDOW_NS + 3, 0, 3, False, "wrongly_unexplained"),
        (WINDOW_NS, None, 9, True, "late"),
        (WINDOW_NS, None, 9, False, "never"),
    ],
)
def test_each_outcome_is_told(at_ns: int, window: int | None, stated_ns: int, late: bool, outcome: str) -> None:
    scored = msgspec.structs.asdict(score(*placed(seq=4, at_ns=at_ns, window=window, stated_ns=stated_ns, late=late)))
    outcomes = {"rightly", "wrongly_explained", "wrongly_unexplained", "late", "never"}
    assert {name for name in outcomes if scored[name]} == {outcome}


def test_a_window_that_is_missing_is_lost_and_a_packet_in_two_is_told() -> None:
    trace, found = placed(seq=1, at_ns=WINDOW_NS, window=1)
    assert score(trace, msgspec.structs.replace(found, windows=[])).windows_lost == 1
    again = [msgspec.structs.replace(found.windows[0], packets={"video": [1]}), *found.windows[1:]]
    assert score(trace, msgspec.structs.replace(found, windows=again)).twice == 1


def test_the_delay_runs_from_the_last_packet_needed() -> None:
    scored = score(*placed(seq=1, at_ns=WINDOW_NS + NS_PER_MS, window=1))
    assert scored.delay_ms == [pytest.approx(2_004)] * 3


def test_memory_does_not_grow_with_the_length_of_the_trace() -> None:
    short, long = (peak_bytes(simulated_trace(DISTURBANCES["all_with_sound"], s * LENGTH_NS // 2, 1)) for s in (1, 3))
    assert long < 1.5 * short


def test_an_hour_of_everything_is_accounted_for() -> None:
    figures = soak(1.0, seed=3)
    assert figures.unaccounted == 0
    assert figures.windows >= 1800
    assert figures.packets > 290_000


def test_without_pandas_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"affectstream\[dev\]"):
        score(*placed(seq=1, at_ns=0, window=0))
