"""The measure of rule 12: an hour of jitter, drift, a reset, a gap and latency, against known truth."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from deploy.bench.clock_accuracy import ClockAccuracy, accuracy, convert, devices, simulate
from stream.timeline.clock import DeviceClock
from stream.timeline.time import NS_PER_SECOND

HOUR_NS = 3600 * NS_PER_SECOND


def check(figures: ClockAccuracy, resets: int) -> None:
    assert figures.error_median_ms <= 0.5
    assert figures.error_p99_ms <= 5
    assert figures.covered_share >= 0.95
    assert figures.covered_by_map_share >= 0.95
    assert figures.steps_back == 0
    assert figures.resets == resets


@pytest.mark.parametrize("index", [0, 1])
def test_an_hour_of_a_device_is_found_within_its_stated_uncertainty(index: int) -> None:
    device = msgspec.structs.replace(devices(HOUR_NS)[index], period_ns=NS_PER_SECOND // 30)
    figures = accuracy(device, HOUR_NS, seed=7)
    check(figures, resets=int(device.reset_ns is not None))
    assert figures.observations == len(simulate(device, HOUR_NS, 7).truth_ns)


@pytest.mark.parametrize("seed", range(3))
def test_so_is_a_short_session_with_the_same_troubles(seed: int) -> None:
    for device in devices(180 * NS_PER_SECOND):
        check(accuracy(device, 180 * NS_PER_SECOND, seed), resets=int(device.reset_ns is not None))


def test_the_trace_is_a_function_of_its_seed_and_so_is_what_the_map_makes_of_it() -> None:
    device = devices(60 * NS_PER_SECOND)[0]
    first, again, other = (simulate(device, 60 * NS_PER_SECOND, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.arrival_ns, again.arrival_ns)
    assert not np.array_equal(first.arrival_ns, other.arrival_ns)
    assert np.all(np.diff(first.arrival_ns) >= 0)
    one, two = (convert(first, DeviceClock(device.latency)) for _ in range(2))
    assert np.array_equal(one.session_ns, two.session_ns)
    assert np.array_equal(one.uncertainty_ns, two.uncertainty_ns)
