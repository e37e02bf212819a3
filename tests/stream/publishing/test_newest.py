from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.prediction import Prediction, Result
from stream.publishing import newest
from stream.publishing.newest import Newest


def prediction(
    start_ns: int, revision: int = 1, status: str = "provisional", *, epoch: int = 0, session: str = "s"
) -> Prediction:
    return Prediction(
        result=Result(
            session=session,
            source_epoch=epoch,
            lane="speech",
            kind="utterance",
            start_ns=start_ns,
            end_ns=start_ns + 1,
            revision=revision,
            status=status,  # type: ignore[arg-type]
            reason="cadence",
        )
    )


PREDICTIONS = st.lists(
    st.builds(
        prediction,
        st.integers(0, 4),
        st.integers(1, 3),
        st.sampled_from(["provisional", "final"]),
        epoch=st.integers(0, 1),
        session=st.sampled_from(["a", "b"]),
    )
)


@pytest.mark.parametrize("lanes", [1, 100])
@given(came=PREDICTIONS)
def test_each_revision_comes_once_and_none_after_a_later_one(lanes: int, came: list[Prediction]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(newest, "LANES", lanes)
        known = Newest()
        told: dict[tuple[str, int, int], tuple[int, str]] = {}
        for one in came:
            result = one.result
            identity = (result.session, result.source_epoch, result.start_ns)
            before = told.get(identity, (0, ""))
            is_new = result.revision > before[0] or (result.revision == before[0] and result.status != before[1])
            assert known.add(one) == is_new
            if is_new:
                told[identity] = (result.revision, result.status)


@given(came=PREDICTIONS)
def test_the_newest_of_a_lane_is_the_last_revision_of_its_last_segment(came: list[Prediction]) -> None:
    known = Newest()
    expected: dict[tuple[str, str], Prediction] = {}
    for one in came:
        lane = (one.result.session, one.result.lane)
        last = expected.get(lane, one).result
        if known.add(one) and (one.result.source_epoch, one.result.start_ns) >= (last.source_epoch, last.start_ns):
            expected[lane] = one
    assert known.lanes() == expected


def test_a_session_that_begins_anew_has_no_newest() -> None:
    known = Newest()
    assert known.add(prediction(9, session="a"))
    assert known.add(prediction(9, session="b"))
    known.begin("a")
    assert set(known.lanes()) == {("b", "speech")}
    assert known.add(prediction(9, session="a"))
    assert known.add(prediction(3, session="a"))


def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "SEGMENTS", 10)
    known = Newest()
    assert all(known.add(prediction(start_ns)) for start_ns in range(100))
    assert not any(known.add(prediction(start_ns)) for start_ns in range(90, 100))
    assert len(known._recent) + len(known._before) <= 20
    assert known.add(prediction(10))
