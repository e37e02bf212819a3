from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from operators.encoders.prosody import PROSODY_DIM
from operators.encoders.speech import LAYERS_DIM
from operators.training.speech_features import VoiceFeatures
from operators.training.speech_fitting import (
    SpeechRecipe,
    SpeechTraining,
    TrainedVoice,
    VoiceRows,
    fit_voice,
    logits_of,
    mean_of,
    shared_part,
    voice_rows,
)

CLASSES = 4
EASY = SpeechRecipe(
    batch=8, dropout=0.0, state_dropout=0.0, mixup=0.01, smoothing=0.0, plain=1.0, part=1.0, whole=1.0, weight_decay=0.0
)


@pytest.fixture(scope="module")
def features() -> VoiceFeatures:
    """Sixteen recordings of different lengths, nothing in them that tells their classes."""
    random = np.random.default_rng(0)
    counts = random.integers(6, 20, 16)
    return VoiceFeatures(
        layers=random.standard_normal((counts.sum(), LAYERS_DIM), np.float32),
        counts=counts,
        prosody=random.standard_normal((16, PROSODY_DIM), np.float32),
    )


@pytest.fixture(scope="module")
def rows(features: VoiceFeatures) -> VoiceRows:
    everything = torch.arange(16)
    return voice_rows(shared_part(features, everything), [features, features], everything, everything % CLASSES)


def fitted(features: VoiceFeatures, rows: VoiceRows, checkpoints: Path, **options: object) -> TrainedVoice:
    shared = shared_part(features, torch.arange(16))
    plain: dict[str, object] = {"epochs": 3, "recipe": EASY, "checkpoints": checkpoints, "valid": None}
    return fit_voice(shared, CLASSES, rows, **(plain | options))  # type: ignore[arg-type]


def test_a_handful_is_learnt_by_heart(features: VoiceFeatures, rows: VoiceRows, tmp_path: Path) -> None:
    trained = fitted(features, rows, tmp_path, epochs=40)
    assert torch.equal(logits_of(trained, rows).argmax(1), rows.classes)


def test_a_seed_gives_the_same_again_and_another_something_else(
    features: VoiceFeatures, rows: VoiceRows, tmp_path: Path
) -> None:
    recipe = SpeechRecipe(batch=8)
    first, again, other = (
        logits_of(fitted(features, rows, tmp_path / name, seed=seed, recipe=recipe), rows)
        for name, seed in (("first", 3), ("again", 3), ("other", 4))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("chosen", [True, False])
def test_a_run_that_was_broken_off_comes_to_the_same_end(
    features: VoiceFeatures, rows: VoiceRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: bool
) -> None:
    valid = rows if chosen else None

    def logits(folder: str) -> torch.Tensor:
        recipe = SpeechRecipe(batch=8)
        return logits_of(fitted(features, rows, tmp_path / folder, epochs=4, valid=valid, recipe=recipe), rows)

    class BrokenError(Exception):
        pass

    def break_off(training: SpeechTraining) -> None:
        if training.current_epoch == 2:
            raise BrokenError

    with monkeypatch.context() as patched:
        patched.setattr(SpeechTraining, "on_train_epoch_end", break_off)
        with pytest.raises(BrokenError):
            logits("broken")
    assert torch.equal(logits("broken"), logits("whole"))


def test_members_side_by_side_are_the_mean_of_them(features: VoiceFeatures, rows: VoiceRows, tmp_path: Path) -> None:
    members = [fitted(features, rows, tmp_path / str(seed), seed=seed) for seed in (0, 1, 2)]
    pooling, head = mean_of(members, rows)
    with torch.inference_mode():
        feature = pooling.pool(*rows.variant(0))
        found = head(feature)
    expected = torch.stack([logits_of(one, rows) for one in members]).mean(0)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert float(head.distance(feature).mean()) == pytest.approx(0.8, abs=0.2)


def test_training_and_live_read_the_same_of_a_recording(features: VoiceFeatures, rows: VoiceRows, tmp_path: Path) -> None:
    trained = fitted(features, rows, tmp_path)
    pooling, _ = mean_of([trained], rows)
    with torch.inference_mode():
        at_once = pooling.pool(*rows.variant(0))
        blocks = torch.from_numpy(features.layers).split(features.counts.tolist())
        one_by_one = [
            pooling(layers, spoken) for layers, spoken in zip(blocks, torch.from_numpy(features.prosody), strict=True)
        ]
    torch.testing.assert_close(torch.stack(one_by_one), at_once, atol=1e-4, rtol=1e-4)


def test_parts_that_are_trained_on_lie_inside_their_recording(
    features: VoiceFeatures, rows: VoiceRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked = msgspec.structs.replace(rows, reduced=torch.full_like(rows.reduced, torch.nan))
    inside = torch.arange(rows.reduced.shape[2]) < rows.counts[..., None]
    marked.reduced[inside] = 1.0
    training = SpeechTraining(
        shared_part(features, torch.arange(16)), CLASSES, marked, None, epochs=1, recipe=SpeechRecipe(batch=16)
    )
    seen: list[torch.Tensor] = []

    def keep(reduced: torch.Tensor, prosody: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
        seen.append(reduced[heard])
        return torch.zeros(len(reduced), CLASSES, requires_grad=True)

    training.forward = keep  # type: ignore[method-assign]
    for step in range(20):
        monkeypatch.setattr(SpeechTraining, "global_step", step)
        training.training_step([torch.arange(16)], 0)
    assert not torch.cat(seen).isnan().all()
