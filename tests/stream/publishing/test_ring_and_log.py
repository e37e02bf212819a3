from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.errors import PublishingError
from stream.publishing import log as log_module
from stream.publishing import ring as ring_module
from stream.publishing.log import Log, Logged, Record, Started
from stream.publishing.ring import Ring, RingLimits
from stream.publishing.wire import BEGINNING, Position

TOPIC = b"prediction/s"


def filled(limits: RingLimits, segments: list[int | None]) -> Ring:
    ring = Ring(limits)
    ring.begin(5, None)
    for number, segment in enumerate(segments, 1):
        ring.add(number, number, [TOPIC, b"12345"], segment, float(number))
    return ring


def test_a_replaced_revision_is_superseded_and_what_the_ring_let_go_is_gone() -> None:
    ring = filled(RingLimits(messages=3), [None, None, 7, 7, None])
    found = ring.select(Position(5, 0), None, (TOPIC,))
    assert [(m.first, m.last, m.why) for m in found.missing] == [(1, 2, "gone"), (3, 3, "superseded")]
    assert (len(found.entries), found.upto, found.more, found.lost) == (2, Position(5, 5), False, False)


@pytest.mark.parametrize(
    ("limits", "kept"), [(RingLimits(messages=4), 4), (RingLimits(bytes=15), 3), (RingLimits(age_s=1.5), 2)]
)
def test_each_bound_holds(limits: RingLimits, kept: int) -> None:
    ring = filled(limits, [None] * 9)
    assert len(ring) == kept
    assert ring.bytes == 5 * kept


@given(st.lists(st.none() | st.integers(0, 4), max_size=40), st.integers(1, 50), st.integers(0, 40), st.integers(0, 45))
@settings(deadline=None, max_examples=200)
def test_all_after_a_position_is_there_superseded_or_gone(
    segments: list[int | None], size: int, after: int, until: int
) -> None:
    ring = filled(RingLimits(messages=size), segments)
    found = ring.select(Position(5, after), Position(5, until), (TOPIC,))
    last = min(until, len(segments))
    said = {n for m in found.missing for n in range(m.first, m.last + 1)}
    assert len(found.entries) + len({n for n in said if after < n <= last}) == max(0, last - after)


@given(st.lists(st.none() | st.integers(0, 4), max_size=40), st.integers(1, 9), st.integers(0, 40))
@settings(deadline=None, max_examples=100)
def test_pages_add_up_to_the_whole_and_none_looks_at_more_than_its_places(
    segments: list[int | None], places: int, after: int
) -> None:
    ring = filled(RingLimits(), segments)
    whole = ring.select(Position(5, after), None, (TOPIC,))
    found, missing, at, more, pages = [], set[int](), Position(5, after), True, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ring_module, "PAGE_PLACES", places)
        for prefixes in ((TOPIC,), (b"prediction/other",)):
            at, more, pages = Position(5, after), True, 0
            while more:
                page = ring.select(at, None, prefixes)
                found += page.entries
                missing |= {n for m in page.missing for n in range(m.first, m.last + 1)}
                assert len(page.entries) <= page.upto.global_sequence - at.global_sequence <= places or not page.more
                at, more, pages = page.upto, page.more, pages + 1
            assert pages <= 1 + max(0, len(segments) - after) / places
    assert found == whole.entries
    assert missing == {n for m in whole.missing for n in range(m.first, m.last + 1)}
    assert at == whole.upto


def test_an_epoch_that_nobody_remembers_is_lost_unless_it_ended_where_this_one_follows() -> None:
    ring = Ring(RingLimits())
    ring.begin(5, Position(4, 9))
    ring.add(1, 1, [TOPIC, b""], None, 0.0)
    lost = {p: ring.select(p, None, (TOPIC,)).lost for p in (Position(4, 8), Position(4, 9), Position(3, 1), BEGINNING)}
    assert list(lost.values()) == [True, False, True, False]


RECORDS: list[Record] = [Started(5, None), *(Logged(5, n, n, [TOPIC, b"h", b"p" * n], (0, 0, 0, "x", n)) for n in (1, 2, 3))]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    log = Log(tmp_path / "log")
    log.append(RECORDS)
    log.close()
    return next((tmp_path / "log").glob("*.log"))


@given(st.integers(0, 200), st.binary(max_size=20))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_torn_end_is_cut_off_and_what_was_whole_is_there(written: Path, kept: int, garbage: bytes) -> None:
    whole = written.read_bytes()
    written.write_bytes(whole[:kept] + garbage)
    log = Log(written.parent)
    records = list(log.records())
    log.close()
    assert records == RECORDS[: len(records)]
    written.write_bytes(whole)


def test_one_publisher_at_a_time(tmp_path: Path) -> None:
    log = Log(tmp_path)
    with pytest.raises(PublishingError, match="in use by another publisher"):
        Log(tmp_path)
    log.close()
    Log(tmp_path).close()


def test_the_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "FILE_BYTES", 1_000)
    monkeypatch.setattr(log_module, "KEPT_BYTES", 5_000)
    log = Log(tmp_path)
    for number in range(1, 200):
        log.append([Logged(5, number, number, [TOPIC, b"p" * 100])])
    log.close()
    assert sum(path.stat().st_size for path in tmp_path.glob("*.log")) <= 6_200
