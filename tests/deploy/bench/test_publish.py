from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.bench import publish
from deploy.bench.publish import Comparison, Figures, Load, Restart, Stall, compare, make_keys
from deploy.cli.app import run

FIGURES = Figures(delivered=1.0, p50_ms=0.5, p99_ms=2.0, cpu_us=90.0)


@pytest.mark.parametrize("curve", [False, True])
def test_own_and_bare_deliver_everything_with_keys_and_without(tmp_path: Path, curve: bool) -> None:
    keys = make_keys(tmp_path) if curve else None
    comparison = compare(Load(subscribers=2, rate=200), 0.5, 1, tmp_path, keys)
    for figures in (comparison.own, comparison.bare):
        assert figures.delivered == 1
        assert 0 < figures.p50_ms <= figures.p99_ms
        assert figures.cpu_us > 0
    assert comparison.added_p50_ms == pytest.approx(comparison.own.p50_ms - comparison.bare.p50_ms)
    assert comparison.cpu_ratios == (comparison.cpu_ratio,) == (comparison.own.cpu_us / comparison.bare.cpu_us,)


def test_pairs_take_turns_and_their_medians_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    latencies = iter([3.0, 1.0, 1.0, 9.0, 5.0, 2.0])
    order: list[bool] = []

    def run_one(load: Load, seconds: float, own: bool, folder: Path, keys: Path | None) -> Figures:
        order.append(own)
        return msgspec.structs.replace(FIGURES, p50_ms=next(latencies), cpu_us=60.0 if own else 40.0)

    monkeypatch.setattr(publish, "_run", run_one)
    comparison = compare(Load(subscribers=1, rate=1), 1, 3, tmp_path, None)
    assert order == [True, False, False, True, True, False]
    assert (comparison.own.p50_ms, comparison.bare.p50_ms) == (5.0, 1.0)
    assert comparison.added_p50_ms == 3.0  # of 2, 8 and 3: the median of the differences, not the difference of the medians
    assert comparison.cpu_ratios == (1.5, 1.5, 1.5)


@pytest.mark.parametrize("options", [(), ("--no-failures",)])
def test_the_command_prints_every_figure(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    comparison = Comparison(own=FIGURES, bare=FIGURES, added_p50_ms=0.0, cpu_ratio=1.0, cpu_ratios=(1.0,), load_average=0.1)
    asked: list[tuple[float, int, bool]] = []

    def measure(seconds: float, pairs: int, *, curve: bool) -> dict[str, Comparison]:
        asked.append((seconds, pairs, curve))
        return {"1_at_10000": comparison}

    instead: dict[str, Callable[..., Any]] = {
        "measure": measure,
        "measure_stall": lambda: Stall(caught_up_s=1.0, complete=True, told=0, untold=0),
        "measure_restart": lambda: Restart(followed_s=1.0, acknowledged=9, lost=0),
    }
    for name, function in instead.items():
        monkeypatch.setattr(publish, name, function)
    assert run(["bench", "publish", "--seconds", "2", "--pairs", "1", "--json", *options]) == 0
    out = capfd.readouterr().out
    assert out.count("\n") == 1
    figures = json.loads(out)
    assert asked == [(2.0, 1, False), (2.0, 1, True)]
    assert set(figures) == {"plain", "curve"} | (set() if options else {"stall", "restart"})
    assert msgspec.convert(figures["curve"]["1_at_10000"], Comparison) == comparison
    if not options:
        assert set(figures["stall"]) == {"caught_up_s", "complete", "told", "untold"}
        assert set(figures["restart"]) == {"followed_s", "acknowledged", "lost"}
