from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.session.reading import Read
from deploy.session.shedding import Ladder, Step, is_left_out, without_frames
from deploy.settings import SheddingSettings
from stream.errors import SettingsError
from stream.timeline.packets import Bound, VideoFrame
from stream.timeline.time import NS_PER_MS, NS_PER_SECOND

SETTINGS = SheddingSettings()
SECONDS = [threshold / NS_PER_SECOND for threshold in SETTINGS.thresholds_ns]


def ns(seconds: float) -> int:
    return round(seconds * NS_PER_SECOND)


def test_each_step_begins_at_its_own_delay() -> None:
    for step in list(Step)[1:]:
        ladder = Ladder(SETTINGS)
        assert not ladder.observe(SETTINGS.thresholds_ns[0] - 1, 0)
        assert ladder.observe(SETTINGS.thresholds_ns[step - 1], 1)
        assert ladder.step is step


def test_steps_are_left_one_by_one_after_calm() -> None:
    ladder = Ladder(SETTINGS)
    ladder.observe(ns(100), 0)
    left = [(k / 10, ladder.step) for k in range(1, 400) if ladder.observe(0, ns(k / 10))]
    assert [step for _, step in left] == list(reversed(list(Step)[:-1]))
    assert [round(at, 1) for at, _ in left] == [2.0 * k for k in range(1, 7)]


@given(st.lists(st.tuples(st.floats(0, 40), st.integers(1, 5_000)), max_size=60))
def test_a_step_is_in_force_exactly_as_long_as_it_must(observed: list[tuple[float, int]]) -> None:
    ladder, now_ns, changes = Ladder(SETTINGS), 0, []
    for behind, after_ms in observed:
        now_ns += after_ms * NS_PER_MS
        before = ladder.step
        assert ladder.observe(ns(behind), now_ns) == (ladder.step is not before)
        assert ladder.step >= sum(behind >= threshold for threshold in SECONDS)
        if ladder.step < before:
            assert ladder.step == before - 1
            assert all(now_ns - at_ns >= SETTINGS.calm_ns for at_ns in changes[-1:])
        if ladder.step is not before:
            changes.append(now_ns)


def test_frames_of_every_second_pick_go_then_all() -> None:
    cells = [[is_left_out(step, k * 40 * NS_PER_MS, 5) for k in range(20)] for step in Step]
    assert not any(cells[Step.PROVISIONALS])
    assert cells[Step.HALF_FACE_RATE] == [k // 5 % 2 == 1 for k in range(20)]
    assert all(all(cells[step]) for step in (Step.VIDEO, Step.TRANSCRIPTION, Step.FACES))


@pytest.mark.parametrize("changed", [{"thresholds_ns": (5, 4, 6, 7, 8, 9)}, {"thresholds_ns": (0,) * 6}])
def test_a_ladder_that_is_none_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        SheddingSettings(**changed)  # type: ignore[arg-type]


def test_frames_that_are_left_out_leave_their_bounds_and_are_counted() -> None:
    frames = [
        VideoFrame(stream="video", sequence=k, start_ns=k * 40 * NS_PER_MS, end_ns=k * 40 * NS_PER_MS, image=None)
        for k in range(10)
    ]  # type: ignore[arg-type]
    read = Read(0, [*frames, Bound(stream="audio", bound_ns=1)], 0)
    assert without_frames(read, Step.PROVISIONALS, 5) is read
    half = without_frames(read, Step.HALF_FACE_RATE, 5)
    assert half.items == [*frames[:5], *(Bound(stream="video", bound_ns=f.start_ns) for f in frames[5:]), read.items[-1]]
    assert sum(dropped.count for dropped in half.dropped) == 5
    assert not any(isinstance(item, VideoFrame) for item in without_frames(read, Step.VIDEO, 5).items)
