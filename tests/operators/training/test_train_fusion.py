from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from operators.datasets.ravdess import VALID_ACTORS, read_ravdess
from operators.interface import EMOTIONS
from operators.model_description import FusionDescription, read_description
from operators.model_folder import DEFAULT_MODEL, load_model
from operators.training.assembly import begin_folder, put_fusion
from operators.training.fusion import COMPOSITIONS, TRUSTS, Heads, Rows, _figures, _heard, _losses, best_trust, compose
from operators.training.progress import silently

EVEN = np.full(7, 1 / 7)
HEADS = Heads(reliability={"text": 0.3, "audio": 0.5}, prior={"text": EVEN, "audio": EVEN})


def opinions(truth: np.ndarray, gain: float, seed: int) -> np.ndarray:
    """Calibrated probabilities (n, 7) of a modality that sees classes in noise; of gain 0 it sees nothing and is unsure."""
    seen = gain * np.eye(7)[truth] + np.random.default_rng(seed).standard_normal((len(truth), 7))
    likely = np.exp(gain * seen)
    return (likely / likely.sum(1, keepdims=True)).astype(np.float32)


def rows(text: np.ndarray, audio: np.ndarray, truth: np.ndarray) -> Rows:
    said = [{"text": t, "audio": a} for t, a in zip(text, audio, strict=True)]
    return Rows(said=said, truth=truth, groups=np.arange(len(truth)) % 4)


def test_words_are_trusted_as_far_as_they_tell() -> None:
    truth = np.random.default_rng(0).integers(7, size=600)
    voice = opinions(truth, 2.0, 1)
    telling = rows(opinions(truth, 1.5, 2), voice, truth)
    misleading = rows(np.roll(opinions(truth, 1.5, 2), 1, axis=0), voice, truth)
    well, badly = _losses(HEADS, telling), _losses(HEADS, misleading)
    both = telling.groups, misleading.groups
    assert best_trust((well, well), *both) > 0.85
    assert best_trust((badly, badly), *both) == TRUSTS[0]
    assert TRUSTS[0] < best_trust((badly, well), *both) < 0.85


def test_no_actor_sets_the_trust_that_it_is_judged_by() -> None:
    losses = np.tile(np.linspace(1, 0, len(TRUSTS)), (8, 1))
    groups = np.arange(8) % 4
    losses[groups == 2] = 100 * losses[groups == 2, ::-1]
    assert best_trust((losses, losses), groups, groups) == TRUSTS[0]
    assert best_trust((losses, losses), groups, groups, without=2) == TRUSTS[-1]


def test_composed_rows_have_pieces_of_one_emotion() -> None:
    truth = np.array([0, 3, 6])
    own = Rows(said=[{"audio": EVEN}] * 3, truth=truth, groups=np.array([15, 15, 16]))
    pool = np.eye(7, dtype=np.float32)
    composed = compose(own, np.stack([EVEN] * 3), (pool, np.arange(7)), (pool, np.arange(7)), seed=0)
    assert len(composed.said) == 3 * COMPOSITIONS
    for said, emotion in zip(composed.said, composed.truth, strict=True):
        assert said["text"].argmax() == said["video"].argmax() == emotion
    np.testing.assert_array_equal(composed.groups[:3], own.groups)


def test_chance_makes_a_calibration_error_on_few_rows_and_hardly_any_on_many() -> None:
    for count, least, most in ((60, 0.05, 0.2), (6000, 0.0, 0.03)):
        truth = np.random.default_rng(5).integers(7, size=count)
        some = rows(opinions(truth, 1.5, 6), opinions(truth, 1.5, 7), truth)
        figures = _figures(HEADS, some, dict.fromkeys(range(4), 1.0))
        assert least <= figures["calibration_error_if_perfect"] <= most
        assert figures["calibration_error"] == pytest.approx(figures["calibration_error_if_perfect"], abs=0.05)


def test_what_was_fitted_is_read_back_and_goes_with_the_part_it_was_fitted_to(tmp_path: Path) -> None:
    begin_folder(tmp_path, alone=False)
    put_fusion(tmp_path, FusionDescription(method="decision", trust={"text": 0.4}, frequencies={"text": {"neutral": 1.0}}))
    text = load_model(tmp_path)._text
    assert text is not None
    assert (text.emotion.trust, text.emotion.prior.tolist()) == (0.4, [1.0, 0, 0, 0, 0, 0, 0])
    assert "Trust beside other modalities: text 0.4" in (tmp_path / "card.md").read_text()


def test_the_model_that_ships_is_as_sure_of_ravdess_as_it_is_right(shared_data: Path) -> None:
    """Words and voice of each clip, which says neutral words in every emotion; 60 of 240."""
    model, about = load_model(), read_description(DEFAULT_MODEL)
    own, _ = _heard(model, read_ravdess(shared_data / "ravdess", VALID_ACTORS)[::4], silently)
    priors = {n: np.array([about.fusion.frequencies[n][e] for e in EMOTIONS]) for n in ("text", "audio")}
    heads = Heads(reliability={n: about.parts[n].emotion.reliability for n in ("text", "audio")}, prior=priors)
    fused = np.stack([heads.fused(said, about.fusion.trust["text"]) for said in own.said])
    right = fused.argmax(1) == own.truth
    assert right.mean() == pytest.approx(fused.max(1).mean(), abs=0.12)
    figures = msgspec.to_builtins(about.fusion.metrics)
    assert right.mean() == pytest.approx(figures["ravdess_valid_text_audio_accuracy"], abs=0.1)
