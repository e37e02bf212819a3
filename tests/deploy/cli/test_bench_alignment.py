from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.bench.alignment_disturbances import WINDOW_NS


def test_a_trace_goes_in_and_its_windows_come_out(affectstream: Callable[..., Any], tmp_path: Path) -> None:
    trace, windows = tmp_path / "trace.jsonl", tmp_path / "windows.jsonl"
    asked = ("bench", "alignment", "--seconds", "20", "--only", "jitter", "--write-trace", trace, "--json")
    simulated = json.loads(affectstream(*map(str, asked)).out)
    outcome = affectstream("bench", "alignment", "--trace", str(trace), "--windows", str(windows), "--json")
    given = json.loads(outcome.out)["trace"]
    assert given["rightly"] == simulated["jitter"]["rightly"] == given["packets"]
    lines = [json.loads(line) for line in windows.read_text().splitlines()]
    assert [line["start_ns"] for line in lines] == [k * WINDOW_NS for k in range(len(lines))]
    assert set(lines[0]["packets"]) == {"video", "audio", "words"}
    assert sum(len(numbers) for line in lines for numbers in line["packets"].values()) == given["packets"]


@pytest.mark.parametrize("asked", [("--windows", "w"), ("--write-trace", "t"), ("--only", "thunder")])
def test_what_can_not_be_asked_is_told(affectstream: Callable[..., Any], asked: tuple[str, ...]) -> None:
    outcome = affectstream("bench", "alignment", *asked)
    assert outcome.code == 2
    assert outcome.err.startswith("affectstream: option --")
