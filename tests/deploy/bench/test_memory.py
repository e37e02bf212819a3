from __future__ import annotations

import pytest

from deploy.bench import memory
from deploy.bench.memory import MemorySample, memory_slope, sampled_memory
from stream.errors import AffectstreamError


def sample(at_s: float, resident_mb: float, *, in_use_mb: float | None = 0.0) -> MemorySample:
    return MemorySample(at_s=at_s, resident_mb=resident_mb, files_mb=2 * resident_mb, in_use_mb=in_use_mb)


def test_slopes_are_those_of_the_last_four_fifths() -> None:
    samples = [
        sample(0, 10),
        sample(900, 50),
        *(sample(at_s, 100 + at_s / 3600, in_use_mb=at_s) for at_s in range(1800, 9001, 600)),
    ]
    found = memory_slope(samples)
    assert found.slope_mb_per_hour == pytest.approx(1)
    assert found.files_slope_mb_per_hour == pytest.approx(2)
    assert found.in_use_slope_mb_per_hour == pytest.approx(3600)
    assert (found.minutes, found.first_mb, found.last_mb) == (150, 10, 102.5)


def test_a_heap_that_does_not_tell_has_no_slope() -> None:
    assert memory_slope([sample(0, 1, in_use_mb=None), sample(60, 1, in_use_mb=None)]).in_use_slope_mb_per_hour is None


def test_one_sample_has_no_slope() -> None:
    with pytest.raises(AffectstreamError, match="1 samples"):
        memory_slope([sample(0, 1)])


def test_a_block_that_is_held_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SAMPLE_S", 0.01)
    with sampled_memory() as samples:
        while len(samples) < 2:
            pass
        before = samples[-1]
        held = bytearray(50_000_000)
        count = len(samples)
        while len(samples) < count + 2:
            pass
    assert len(held) == 50_000_000
    assert samples[-1].resident_mb - before.resident_mb > 40
    if before.in_use_mb is not None and samples[-1].in_use_mb is not None:
        assert samples[-1].in_use_mb - before.in_use_mb > 40
