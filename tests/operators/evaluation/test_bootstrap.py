from __future__ import annotations

import numpy as np
import pytest

from operators.evaluation.bootstrap import bootstrap_intervals


def test_the_interval_of_a_share_is_the_binomial_one() -> None:
    right = np.arange(400) < 300
    low, high = bootstrap_intervals(lambda rows: {"share": float(right[rows].mean())}, 400)["share"]
    deviation = np.sqrt(0.75 * 0.25 / 400)
    assert low == pytest.approx(0.75 - 1.96 * deviation, abs=0.01)
    assert high == pytest.approx(0.75 + 1.96 * deviation, abs=0.01)


def test_the_same_seed_gives_the_same_interval() -> None:
    def measure(rows: np.ndarray) -> dict[str, float]:
        return {"mean": float(rows.mean())}

    assert bootstrap_intervals(measure, 50) == bootstrap_intervals(measure, 50)
    assert bootstrap_intervals(measure, 50) != bootstrap_intervals(measure, 50, seed=1)


def test_what_is_not_defined_is_left_out() -> None:
    values = np.array([np.nan, 1.0, 1.0])
    found = bootstrap_intervals(lambda rows: {"first": float(values[rows[0]]), "none": float("nan")}, 3)
    assert found["first"] == (1.0, 1.0)
    assert np.isnan(found["none"]).all()


def test_a_single_row_varies_not() -> None:
    assert bootstrap_intervals(lambda rows: {"row": float(rows.sum())}, 1)["row"] == (0.0, 0.0)
