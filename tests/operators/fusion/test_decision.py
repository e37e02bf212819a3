from __future__ import annotations

import math
from itertools import combinations
from statistics import NormalDist

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.calibration import reliability
from operators.evaluation.metrics import expected_calibration_error
from operators.fusion.decision import Opinion, fuse_opinions

MODALITIES = ("text", "audio", "video")


@st.composite
def opinion(draw: st.DrawFn) -> Opinion:
    parts = np.array(draw(st.lists(st.floats(0.01, 1.0), min_size=7, max_size=7)), np.float32)
    prior = np.array(draw(st.lists(st.floats(0.01, 1.0), min_size=7, max_size=7)))
    shares = [draw(st.floats(0.01, 1.0)) for _ in range(3)]
    return Opinion(
        emotions=parts / parts.sum(),
        reliability=shares[0],
        coverage=shares[1],
        trust=shares[2],
        prior=prior / prior.sum(),
    )


opinions = st.dictionaries(st.sampled_from(MODALITIES), opinion(), min_size=1)


@settings(deadline=None)
@given(opinions)
def test_weights_and_probabilities_add_up_to_one(said: dict[str, Opinion]) -> None:
    emotions, weights = fuse_opinions(said)
    assert emotions is not None
    assert sum(weights.values()) == pytest.approx(1.0)
    assert emotions.sum() == pytest.approx(1.0, abs=1e-5)
    assert (emotions >= 0).all()


@settings(deadline=None)
@given(opinion())
def test_one_modality_alone_is_given_out_byte_for_byte(alone: Opinion) -> None:
    emotions, weights = fuse_opinions({"audio": alone})
    assert emotions is not None
    assert emotions.tobytes() == alone.emotions.tobytes()
    assert weights == {"audio": 1.0}


@settings(deadline=None)
@given(st.fixed_dictionaries({name: opinion() for name in MODALITIES}), st.sampled_from(MODALITIES))
def test_an_absent_modality_changes_the_weights_of_the_others_and_nothing_else(said: dict[str, Opinion], absent: str) -> None:
    _, weights = fuse_opinions(said)
    without = {name: o for name, o in said.items() if name != absent}
    emotions, rest = fuse_opinions(without)
    first, second = rest
    assert rest[first] / rest[second] == pytest.approx(weights[first] / weights[second])
    silent = msgspec.structs.replace(said[absent], coverage=0.0)
    with_nothing_to_say, same = fuse_opinions({**without, absent: silent})
    assert emotions is not None
    assert with_nothing_to_say is not None
    assert with_nothing_to_say.tobytes() == emotions.tobytes()
    assert same == rest
    nearly, _ = fuse_opinions({**without, absent: msgspec.structs.replace(silent, coverage=1e-9)})
    assert nearly is not None
    np.testing.assert_allclose(nearly, emotions, atol=1e-5)


def test_order_of_modalities_changes_only_rounding() -> None:
    rng = np.random.default_rng(0)
    said = {
        n: Opinion(emotions=rng.dirichlet(np.ones(7)).astype(np.float32), reliability=0.3, coverage=0.5) for n in MODALITIES
    }
    forward, _ = fuse_opinions(said)
    backward, _ = fuse_opinions(dict(reversed(said.items())))
    assert forward is not None
    assert backward is not None
    np.testing.assert_allclose(forward, backward, atol=1e-7)


def test_twice_the_coverage_is_twice_the_weight() -> None:
    one = np.full(7, 1 / 7, np.float32)
    _, weights = fuse_opinions(
        {
            "audio": Opinion(emotions=one, reliability=0.4, coverage=0.5),
            "video": Opinion(emotions=one, reliability=0.4, coverage=1.0),
        }
    )
    assert weights["video"] == pytest.approx(2 * weights["audio"])


SUBSETS = [names for count in (1, 2, 3) for names in combinations(MODALITIES, count)]
SIGNAL = {"text": 2.0, "audio": 1.0, "video": 0.7}
"""How far apart the classes lie in what a modality sees, in deviations of its noise from the middle."""
ROWS = 20_000
"""A rate near .5 is known to .0035 (one standard error), the difference of two on the same rows better."""


def observed(classes: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Classes (n,), and each modality's exact posterior (n, 7): independent Gaussian noise around a place for each class."""
    rng = np.random.default_rng(3)
    truth = rng.integers(classes, size=ROWS)
    places = np.array([[-1.0], [1.0]]) if classes == 2 else 1.4 * np.eye(classes)
    said = {}
    for name, signal in SIGNAL.items():
        seen = signal * places[truth] + rng.standard_normal((ROWS, places.shape[1]))
        logs = -0.5 * ((seen[:, None] - signal * places) ** 2).sum(2)
        posterior = np.exp(logs - logs.max(1, keepdims=True))
        said[name] = np.zeros((ROWS, 7))
        said[name][:, :classes] = posterior / posterior.sum(1, keepdims=True)
    return truth, said


def fused_rows(said: dict[str, np.ndarray], truth: np.ndarray, names: tuple[str, ...], classes: int) -> np.ndarray:
    prior = np.where(np.arange(7) < classes, 1 / classes, 0.0)
    known = {name: reliability(torch.from_numpy(said[name]).float(), torch.from_numpy(truth)) for name in names}
    rows = []
    for k in range(ROWS):
        fused, weights = fuse_opinions(
            {n: Opinion(emotions=said[n][k], reliability=known[n], coverage=1.0, prior=prior) for n in names}
        )
        assert weights == pytest.approx({name: known[name] / sum(known.values()) for name in names})
        rows.append(fused)
    return np.array(rows)


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_two_classes_reach_the_bayes_rate_in_every_subset(names: tuple[str, ...]) -> None:
    truth, said = observed(2)
    fused = fused_rows(said, truth, names, 2)
    bayes = NormalDist().cdf(math.sqrt(sum(SIGNAL[name] ** 2 for name in names)))
    right = fused.argmax(1) == truth
    assert right.mean() == pytest.approx(bayes, abs=0.01)
    assert expected_calibration_error(fused.max(1), right) < 0.02


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_seven_classes_are_found_as_often_as_by_the_exact_posterior(names: tuple[str, ...]) -> None:
    truth, said = observed(7)
    fused = fused_rows(said, truth, names, 7)
    exact = np.prod([said[name] for name in names], axis=0).argmax(1)
    right = fused.argmax(1) == truth
    assert right.mean() == pytest.approx((exact == truth).mean(), abs=0.01)
    assert expected_calibration_error(fused.max(1), right) < 0.02


def test_a_frequent_emotion_that_is_no_more_likely_than_before_is_no_evidence_for_it() -> None:
    often_neutral = np.array([0.7, *[0.05] * 6])
    words = Opinion(emotions=often_neutral, reliability=0.3, coverage=1.0, prior=often_neutral)
    angry = np.full(7, 0.1)
    angry[3] = 0.4
    voice = Opinion(emotions=angry, reliability=0.6, coverage=1.0)
    emotions, _ = fuse_opinions({"text": words, "audio": voice})
    assert emotions is not None
    # Only the frequencies mix: neutral by (.7 / (1 / 7)) ** (1 / 3) and the others by (.05 / (1 / 7)) ** (1 / 3).
    expected = angry * np.where(np.arange(7) == 0, 4.9, 0.35) ** (1 / 3)
    np.testing.assert_allclose(emotions, expected / expected.sum(), rtol=1e-5)


def test_what_is_trusted_half_adds_half_its_evidence_and_alone_it_is_itself() -> None:
    likely = np.array([0.4, *[0.1] * 6], np.float32)
    half = Opinion(emotions=likely, reliability=0.5, coverage=1.0, trust=0.5)
    whole = Opinion(emotions=np.roll(likely, 1), reliability=0.5, coverage=1.0)
    emotions, weights = fuse_opinions({"text": half, "audio": whole})
    assert emotions is not None
    assert weights == pytest.approx({"text": 1 / 3, "audio": 2 / 3})
    assert emotions[0] / emotions[2] == pytest.approx(2.0)
    assert emotions[1] / emotions[2] == pytest.approx(4.0)
    alone, _ = fuse_opinions({"text": half})
    assert alone is likely


def test_nobody_rules_out_what_the_others_are_sure_of() -> None:
    never = np.array([0.5, 0.5, 0, 0, 0, 0, 0], np.float32)
    sure = np.array([0, 0, 1, 0, 0, 0, 0], np.float32)
    emotions, _ = fuse_opinions(
        {n: Opinion(emotions=e, reliability=0.5, coverage=1.0) for n, e in (("text", never), ("audio", sure))}
    )
    assert emotions is not None
    assert np.isfinite(emotions).all()
    assert emotions[2] > 0.2


@pytest.mark.parametrize(("reliability", "coverage"), [(0.0, 1.0), (1.0, 0.0)])
def test_without_weight_nothing_is_said(reliability: float, coverage: float) -> None:
    said = {"video": Opinion(emotions=np.full(7, 1 / 7, np.float32), reliability=reliability, coverage=coverage)}
    assert fuse_opinions(said) == (None, {})
    assert fuse_opinions({}) == (None, {})
