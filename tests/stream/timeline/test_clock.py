from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import SettingsError, TimelineError
from stream.timeline.clock import DeviceClock, Reading, Verdict
from stream.timeline.clock_settings import ClockSettings, Latency
from stream.timeline.time import NS_PER_MS, NS_PER_SECOND

S, MS = NS_PER_SECOND, NS_PER_MS
FRAME_NS = S // 30
AHEAD_NS = 5_000 * S
"""By how much the device's clock is ahead of session time in these tests."""


def prompt(clock: DeviceClock, first: int, count: int, *, ahead_ns: int = AHEAD_NS, late_ns: int = 0) -> list[Verdict]:
    """Frames `first` to `first + count` of a perfect clock, each arriving `late_ns` after its capture."""
    return [clock.observe(n * FRAME_NS + ahead_ns, n * FRAME_NS + late_ns) for n in range(first, first + count)]


def error_ns(clock: DeviceClock, frame: int, *, ahead_ns: int = AHEAD_NS) -> int:
    return clock.convert(frame * FRAME_NS + ahead_ns).session_ns - frame * FRAME_NS


def test_a_perfect_clock_is_found_exactly_and_gets_surer() -> None:
    clock = DeviceClock()
    assert prompt(clock, 0, 1) == [Verdict.FITS]
    unsure = clock.convert(AHEAD_NS)
    assert unsure.session_ns == 0
    assert unsure.uncertainty_ns >= ClockSettings().jitter_ns
    assert set(prompt(clock, 1, 900)) == {Verdict.FITS}
    assert error_ns(clock, 900) == 0
    assert clock.convert(900 * FRAME_NS + AHEAD_NS).uncertainty_ns < MS


def test_the_configured_latency_is_taken_off_and_its_uncertainty_stated() -> None:
    clock = DeviceClock(Latency(latency_ns=40 * MS, uncertainty_ns=7 * MS))
    prompt(clock, 0, 900, late_ns=40 * MS)
    assert error_ns(clock, 899) == 0
    assert 7 * MS <= clock.convert(899 * FRAME_NS + AHEAD_NS).uncertainty_ns < 8 * MS


def test_before_the_first_output_the_map_steps_after_it_it_slews() -> None:
    """The first frames arrive at once, as after a connection is made."""
    free, pinned = DeviceClock(), DeviceClock()
    for clock in (free, pinned):
        clock.observe(AHEAD_NS, 2 * FRAME_NS)
    assert pinned.convert(AHEAD_NS).session_ns == 2 * FRAME_NS
    for clock in (free, pinned):
        clock.observe(FRAME_NS + AHEAD_NS, 2 * FRAME_NS)
        prompt(clock, 2, 61)
    assert error_ns(free, 62) == 0
    was = error_ns(pinned, 62)
    assert 0 < was < 2 * FRAME_NS
    prompt(pinned, 63, 300)
    slewed = was - error_ns(pinned, 362)
    assert slewed == pytest.approx(500e-6 * 300 * FRAME_NS, rel=0.01)
    assert pinned.convert(362 * FRAME_NS + AHEAD_NS).uncertainty_ns >= was - slewed
    prompt(pinned, 363, 4000)
    assert error_ns(pinned, 4362) == 0


def test_the_rate_is_applied_in_full() -> None:
    """At 1000 ppm a map that only slewed could never follow; this one is right on what it never saw."""
    clock = DeviceClock()
    stamps = [n * FRAME_NS + n * FRAME_NS // 1000 for n in range(3600)]
    for n, stamp in enumerate(stamps):
        clock.observe(stamp, n * FRAME_NS)
    assert clock.rate == pytest.approx(-1e-3, rel=0.01)
    ahead_ns = 3600 * FRAME_NS + 20 * S
    reading = clock.convert(ahead_ns + ahead_ns // 1000)
    assert abs(reading.session_ns - ahead_ns) <= min(reading.uncertainty_ns, MS)


@pytest.mark.parametrize("jump_ns", [-4_000 * S, -S // 2, 60 * MS, S // 2, 4_000 * S])
def test_a_clock_that_jumps_begins_a_new_map_once_the_next_stamp_confirms_it(jump_ns: int) -> None:
    clock = DeviceClock()
    prompt(clock, 0, 300)
    error_ns(clock, 299)
    assert prompt(clock, 300, 3, ahead_ns=AHEAD_NS + jump_ns) == [Verdict.HELD, Verdict.RESET, Verdict.FITS]
    assert error_ns(clock, 300, ahead_ns=AHEAD_NS + jump_ns) == 0
    assert not clock.settled
    prompt(clock, 303, 60, ahead_ns=AHEAD_NS + jump_ns)
    assert clock.settled


@pytest.mark.parametrize("off_ns", [-4_000 * S, 4_000 * S])
def test_a_stamp_that_stands_alone_is_not_believed(off_ns: int) -> None:
    clock = DeviceClock()
    prompt(clock, 0, 300)
    assert prompt(clock, 300, 1, ahead_ns=AHEAD_NS + off_ns) == [Verdict.HELD]
    assert prompt(clock, 301, 2) == [Verdict.FITS, Verdict.FITS]
    assert error_ns(clock, 302) == 0


def test_a_network_that_stalls_is_no_reset() -> None:
    clock = DeviceClock()
    prompt(clock, 0, 900)
    error_ns(clock, 899)
    stalled = [clock.observe(n * FRAME_NS + AHEAD_NS, 1_020 * FRAME_NS) for n in range(900, 1_020)]
    assert set(stalled + prompt(clock, 1_020, 30)) == {Verdict.FITS}
    assert error_ns(clock, 1_049) == 0


def test_a_network_that_gets_faster_by_what_jitter_may_be_is_no_reset_and_the_error_is_stated() -> None:
    clock = DeviceClock()
    prompt(clock, 0, 900, late_ns=45 * MS)
    error_ns(clock, 899)
    assert set(prompt(clock, 902, 58)) == {Verdict.FITS}
    reading = clock.convert(959 * FRAME_NS + AHEAD_NS)
    assert 40 * MS < reading.session_ns - 959 * FRAME_NS < reading.uncertainty_ns


@settings(max_examples=30, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 200e-6, -100e-6]), st.sampled_from([10, 30, 50]))
def test_no_jitter_of_up_to_50_ms_looks_like_a_reset(seed: int, drift: float, mean_ms: int) -> None:
    chance, clock, arrival_ns = random.Random(seed), DeviceClock(), 0
    for n in range(900):
        at_ns = n * FRAME_NS + (20 * S if n > 600 else 0)
        arrival_ns = max(arrival_ns, at_ns + round(min(chance.expovariate(1 / mean_ms), 50) * MS))
        stamp_ns = at_ns + round(at_ns * drift) + AHEAD_NS
        assert clock.observe(stamp_ns, arrival_ns) is Verdict.FITS
        if clock.settled:
            clock.convert(stamp_ns)


def test_a_clock_set_back_over_a_gap_shows_in_that_everything_is_late() -> None:
    """The device is silent for a minute and comes back half a minute behind: its stamps go on, and look delayed."""
    clock = DeviceClock()
    prompt(clock, 0, 300)
    error_ns(clock, 299)
    behind_ns = AHEAD_NS - 30 * S
    verdicts = prompt(clock, 300 + 1_800, 300, ahead_ns=behind_ns)
    assert verdicts.count(Verdict.RESET) == 1
    assert verdicts.index(Verdict.RESET) == pytest.approx(150, abs=2)
    assert error_ns(clock, 2_399, ahead_ns=behind_ns) == 0


def test_a_gap_leaves_the_map_as_it_is_and_makes_it_less_sure() -> None:
    clock = DeviceClock()
    prompt(clock, 0, 900)
    before = clock.convert(899 * FRAME_NS + AHEAD_NS)
    within = clock.convert(899 * FRAME_NS + AHEAD_NS + 600 * S)
    assert within.session_ns - before.session_ns == 600 * S
    assert within.uncertainty_ns > before.uncertainty_ns
    assert set(prompt(clock, 900 + 30 * 600, 30)) == {Verdict.FITS}
    assert error_ns(clock, 929 + 30 * 600) == 0


def test_a_calibrated_latency_is_slewed_to() -> None:
    clock = DeviceClock(Latency(latency_ns=0, uncertainty_ns=50 * MS))
    prompt(clock, 0, 300, late_ns=10 * MS)
    assert error_ns(clock, 299) == 10 * MS
    clock.calibrate(Latency(latency_ns=10 * MS, uncertainty_ns=2 * MS))
    prompt(clock, 300, 900, late_ns=10 * MS)
    assert error_ns(clock, 1_199) == 0
    assert clock.convert(1_199 * FRAME_NS + AHEAD_NS).uncertainty_ns < 3 * MS


def test_two_way_offsets_need_no_arrival_and_far_ones_count_little() -> None:
    clock = DeviceClock()
    for n in range(24):
        noise_ns = (-1) ** n * 50_000 + (3 * MS if n == 11 else 0)
        assert clock.observe_offset(n * 5 * S, -7 * S + n * 5 * S // 100_000 + noise_ns, 80_000) is Verdict.FITS
    reading = clock.convert(23 * 5 * S)
    assert abs(reading.session_ns - (23 * 5 * S - 7 * S + 23 * 5 * S // 100_000)) < 60_000
    assert reading.uncertainty_ns >= 80_000
    assert clock.observe_offset(60 * S, 200 * S) is Verdict.HELD
    assert clock.observe_offset(65 * S, 200 * S) is Verdict.RESET
    assert clock.convert(65 * S).session_ns == pytest.approx(265 * S, abs=100_000)


def test_what_cannot_be_is_refused() -> None:
    clock = DeviceClock()
    with pytest.raises(TimelineError, match="no observation"):
        clock.convert(0)
    clock.observe(0, 10)
    with pytest.raises(TimelineError, match="found 9, expected 10 or later"):
        clock.observe(1, 9)
    with pytest.raises(TimelineError, match="one or the other"):
        clock.observe_offset(0, 0)
    with pytest.raises(SettingsError, match="slew"):
        ClockSettings(slew=0.5)
    with pytest.raises(SettingsError, match="block_ns"):
        ClockSettings(block_ns=0)
    with pytest.raises(SettingsError, match="latency"):
        Latency(uncertainty_ns=-1)


def test_memory_is_bounded() -> None:
    clock = DeviceClock(settings=ClockSettings(rate_window_ns=2 * S, block_ns=10 * MS, floor_blocks=50))
    prompt(clock, 0, 300)
    kept = clock._observations._kept
    for n in range(300, 3_000):
        prompt(clock, n, 1)
        error_ns(clock, n)
    assert clock._observations._kept is kept
    assert len(clock._observations) <= 201
    assert len(clock._pieces) <= 32


# Two kinds of event: an observation (time since the one before, drawn delay, jump of the device's clock), or a conversion
# of a stamp so much before or after the newest.
OBSERVED = st.tuples(
    st.just("observe"),
    st.integers(0, 400 * MS),
    st.integers(0, 2 * S) | st.integers(0, 60 * MS),
    st.just(0) | st.integers(-150 * MS, 150 * MS) | st.sampled_from([-100 * S, -S, S, 100 * S]),
)
CONVERTED = st.tuples(st.just("convert"), st.integers(-250 * MS, 5 * S))
EVENTS = st.lists(OBSERVED | CONVERTED, max_size=120)


def play(events: list[tuple], *, extra: bool = False) -> tuple[list[Verdict], list[list[tuple[int, Reading]]]]:
    """Verdicts, and by epoch all (stamp, reading); `extra` asks for every stamp that is not new once more."""
    clock = DeviceClock()
    device_ns = arrival_ns = newest_ns = 0
    observed = False
    verdicts: list[Verdict] = []
    epochs: list[list[tuple[int, Reading]]] = [[]]
    for event in events:
        if event[0] == "observe":
            _, step_ns, delay_ns, jump_ns = event
            device_ns += step_ns + jump_ns
            arrival_ns = max(arrival_ns + step_ns, arrival_ns + delay_ns // 10)
            verdicts.append(clock.observe(device_ns, arrival_ns))
            observed = True
            if verdicts[-1] is Verdict.RESET:
                epochs.append([])
                newest_ns = device_ns
            if verdicts[-1] is not Verdict.HELD:
                newest_ns = max(newest_ns, device_ns)
        elif observed:
            stamp_ns = newest_ns + event[1]
            epochs[-1].append((stamp_ns, clock.convert(stamp_ns)))
            if extra:
                for before_ns in range(0, 200 * MS, 40 * MS):
                    clock.convert(min(stamp_ns, newest_ns) - before_ns)
    return verdicts, epochs


@given(EVENTS)
@settings(max_examples=120, deadline=None)
def test_within_an_epoch_a_later_stamp_never_gets_an_earlier_time(events: list[tuple]) -> None:
    for readings in play(events)[1]:
        newest_ns = None
        floor_ns = None
        for stamp_ns, reading in readings:
            assert reading.uncertainty_ns >= 0
            if newest_ns is None or stamp_ns >= newest_ns:
                assert floor_ns is None or reading.session_ns >= floor_ns
                newest_ns, floor_ns = stamp_ns, reading.session_ns
        in_order = sorted(readings, key=lambda pair: pair[0])
        assert [r.session_ns for _, r in in_order] == sorted(r.session_ns for _, r in in_order)


@given(EVENTS)
@settings(max_examples=60, deadline=None)
def test_it_is_a_function_of_its_calls_and_asking_again_changes_nothing(events: list[tuple]) -> None:
    assert play(events) == play(events) == play(events, extra=True)
