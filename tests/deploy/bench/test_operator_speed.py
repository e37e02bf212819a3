from __future__ import annotations

import itertools

import pytest
import torch

from deploy.bench import operator_speed
from deploy.bench.operator_speed import ITEMS, measure_operators, speed_of


def test_each_operator_by_its_batch_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_speed, "WARM_UP_CALLS", 0)
    monkeypatch.setattr(operator_speed, "FEWEST_CALLS", 1)
    speeds = measure_operators(seconds=0)
    assert speeds.keys() == ITEMS.keys()
    assert list(speeds["face_encoder"]) == ["1", "2", "4", "8"]
    assert list(speeds["text_encoder"]) == list(speeds["affect"]) == ["1", "4", "16"]
    for by_batch in speeds.values():
        for batch, speed in by_batch.items():
            assert speed.milliseconds > 0
            assert speed.items_per_second == pytest.approx(int(batch) * 1e3 / speed.milliseconds)


def test_the_median_counts_and_the_first_calls_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    took = itertools.chain([9.0, 9.0], itertools.cycle([0.001, 0.002, 0.6]))
    clock = [0.0]

    def call() -> None:
        clock[0] += next(took)

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    speed = speed_of(call, 4, seconds=1.0)
    assert speed.milliseconds == pytest.approx(2.0)
    assert speed.items_per_second == pytest.approx(2_000)


def test_calls_end_however_short_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.perf_counter", lambda: 0.0)
    calls = itertools.count()
    speed_of(lambda: next(calls), 1, seconds=1.0)
    assert next(calls) == operator_speed.WARM_UP_CALLS + operator_speed.MOST_CALLS


def test_sentences_are_new_each_time() -> None:
    assert len(set(itertools.islice(operator_speed._sentences(), 500))) == 500


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU: torch.cuda.is_available() is False")
    assert measure_operators(device="cuda", seconds=0).keys() == ITEMS.keys()
