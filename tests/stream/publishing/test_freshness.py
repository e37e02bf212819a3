from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.publishing.freshness import Freshness

BEGAN_S = 1_700_000_000.0


def at(seconds: float) -> str:
    return datetime.fromtimestamp(BEGAN_S + seconds, UTC).isoformat(timespec="microseconds")


@pytest.mark.parametrize(("now_s", "too_old"), [(40, False), (40.999, True), (41.001, True), (100, True)])
def test_what_waited_longer_is_too_old(now_s: float, too_old: bool) -> None:
    assert Freshness(30, BEGAN_S).is_too_old(at(10.5), BEGAN_S + now_s) == too_old


def test_what_was_sent_before_is_never_too_old() -> None:
    assert not Freshness(30, BEGAN_S).is_too_old(at(-0.5), BEGAN_S + 1_000)


def test_without_an_age_nothing_is_too_old() -> None:
    assert not Freshness(None, BEGAN_S).is_too_old(at(1), BEGAN_S + 1e6)


def test_the_least_delay_of_a_heartbeat_is_the_difference_of_the_clocks() -> None:
    fresh = Freshness(30, BEGAN_S)
    for delay_s in (3_605, 3_600, 3_610):  # an hour behind
        fresh.note(at(0), BEGAN_S + delay_s)
    assert not fresh.is_too_old(at(10), BEGAN_S + 3_600 + 39)
    assert fresh.is_too_old(at(10), BEGAN_S + 3_600 + 41)


def test_a_time_that_is_none_is_not_too_old() -> None:
    assert not Freshness(30, BEGAN_S).is_too_old("yesterday", BEGAN_S + 100)


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3)), min_size=1))
def test_a_message_is_judged_alike_whatever_was_judged_before(asked: list[tuple[float, float]]) -> None:
    fresh = Freshness(1, BEGAN_S)
    for sent_s, waited_s in asked:
        published, now_s = at(sent_s), BEGAN_S + sent_s + waited_s
        assert fresh.is_too_old(published, now_s) == Freshness(1, BEGAN_S).is_too_old(published, now_s)
