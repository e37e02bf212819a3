from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.fusion.decision import Opinion, fuse_opinions

MODALITIES = ("text", "audio", "video")


@st.composite
def opinion(draw: st.DrawFn) -> Opinion:
    parts = np.array(draw(st.lists(st.floats(0.01, 1.0), min_size=7, max_size=7)), np.float32)
    return Opinion(emotions=parts / parts.sum(), reliability=draw(st.floats(0.01, 1.0)), coverage=draw(st.floats(0.01, 1.0)))


opinions = st.dictionaries(st.sampled_from(MODALITIES), opinion(), min_size=1)


@settings(deadline=None)
@given(opinions)
def test_weights_and_probabilities_add_up_to_one_and_stay_between_the_opinions(said: dict[str, Opinion]) -> None:
    emotions, weights = fuse_opinions(said)
    assert emotions is not None
    assert sum(weights.values()) == pytest.approx(1.0)
    assert emotions.sum() == pytest.approx(1.0, abs=1e-5)
    rows = np.stack([o.emotions for o in said.values()])
    assert (emotions <= rows.max(0) + 1e-6).all()
    assert (emotions >= rows.min(0) - 1e-6).all()


@settings(deadline=None)
@given(opinion())
def test_one_modality_alone_is_given_out_byte_for_byte(alone: Opinion) -> None:
    emotions, weights = fuse_opinions({"audio": alone})
    assert emotions is not None
    assert emotions.tobytes() == alone.emotions.tobytes()
    assert weights == {"audio": 1.0}


@settings(deadline=None)
@given(st.fixed_dictionaries({name: opinion() for name in MODALITIES}), st.sampled_from(MODALITIES))
def test_an_absent_modality_only_rescales_the_weights_of_the_others(said: dict[str, Opinion], absent: str) -> None:
    _, weights = fuse_opinions(said)
    _, rest = fuse_opinions({name: o for name, o in said.items() if name != absent})
    first, second = rest
    assert rest[first] / rest[second] == pytest.approx(weights[first] / weights[second])


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


@pytest.mark.parametrize(("reliability", "coverage"), [(0.0, 1.0), (1.0, 0.0)])
def test_without_weight_nothing_is_said(reliability: float, coverage: float) -> None:
    said = {"video": Opinion(emotions=np.full(7, 1 / 7, np.float32), reliability=reliability, coverage=coverage)}
    assert fuse_opinions(said) == (None, {})
    assert fuse_opinions({}) == (None, {})
