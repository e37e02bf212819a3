from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise

from deploy.bench.alignment_speed import STREAMS, measure, measure_scaling, simulated_trace
from stream.timeline.packets import Bound, Packet, packets_equal


def test_the_trace_is_a_function_of_its_seed_and_in_order_of_arrival() -> None:
    first, again, other = (list(islice(simulated_trace(seed), 3000)) for seed in (0, 0, 1))
    assert all(a[:2] == b[:2] and packets_equal(a[2], b[2]) for a, b in zip(first, again, strict=True))
    assert any(a[:2] != b[:2] for a, b in zip(first, other, strict=True))
    assert all(a[0] <= b[0] for a, b in pairwise(first))


def test_the_trace_has_the_mix_of_a_live_session() -> None:
    events = list(islice(simulated_trace(0), 20_000))
    seconds = events[-1][0] / 1e9
    rates = Counter(item.stream for _, _, item in events if isinstance(item, Packet))
    bounds = sum(isinstance(item, Bound) for _, _, item in events)
    assert set(rates) == {stream.name for stream in STREAMS}
    assert abs(rates["audio"] / seconds - 50) < 0.5
    assert abs(rates["activity"] / seconds - 31.25) < 0.5
    assert bounds == rates["activity"]


def test_all_policies_are_on_and_memory_stays_flat() -> None:
    short, long = measure(8_000), measure(20_000)
    assert set(long.revisions) == {"provisional", "final", "amended"}
    assert long.events == 20_000
    assert long.peak_bytes < 2 * short.peak_bytes


def test_a_trace_is_measured_beside_one_ten_times_as_long() -> None:
    scaling = measure_scaling(10_000, runs=2)
    assert (scaling.trace.events, scaling.ten_times.events) == (1_000, 10_000)
    assert scaling.ten_times.media_seconds > 9 * scaling.trace.media_seconds
    assert scaling.times_as_long > 1
