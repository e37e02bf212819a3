from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from operators.datasets.ravdess import LABELS, SpokenClip
from operators.encoders.prosody import PROSODY_DIM
from operators.encoders.speech import LAYERS_DIM
from operators.model_description import read_description
from operators.model_folder import load_model
from operators.training import feature_cache, speech
from operators.training.progress import Track
from operators.training.speech import train_speech
from operators.training.speech_features import CHANGED, PLAIN, VoiceFeatures, changed
from operators.training.speech_figures import clip_figures, group_figures
from operators.training.speech_fitting import SpeechRecipe, SpeechTraining
from stream.errors import DatasetError

EASY = SpeechRecipe(batch=16, dropout=0.1, state_dropout=0.0, mixup=0.1, weight_decay=0.0)
WORDS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A list of one recording of each emotion by each of 18 actors; nobody listens to the files."""
    folder = tmp_path / "ravdess"
    folder.mkdir()
    rows = ["path,actor,emotion,intensity,statement,seconds"]
    for actor in range(1, 19):
        for word in WORDS:
            (folder / f"{actor}-{word}.flac").touch()
            rows.append(f"{actor}-{word}.flac,{actor},{word},{'strong' if word == 'sad' else 'normal'},01,2.0")
    (folder / "clips.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(autouse=True)
def told_apart_by_prosody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Features of which one number tells the emotion, as nothing in a recording does."""

    def features(_: Path, clips: Sequence[SpokenClip], variant: str, __: Track) -> VoiceFeatures:
        random = np.random.default_rng(len(variant))
        prosody = random.standard_normal((len(clips), PROSODY_DIM)).astype(np.float32)
        prosody[np.arange(len(clips)), [clip.emotion for clip in clips]] += 12
        counts = random.integers(5, 9, len(clips))
        layers = random.standard_normal((counts.sum(), LAYERS_DIM)).astype(np.float32)
        return VoiceFeatures(layers=layers, counts=counts, prosody=prosody)

    monkeypatch.setattr(speech, "clip_features", features)
    monkeypatch.setattr(feature_cache, "user_cache_path", lambda _: tmp_path / "cache")


def test_what_comes_out_is_a_model_of_the_mean_of_its_seeds(data: Path, tmp_path: Path) -> None:
    metrics = train_speech(data, tmp_path / "model", epochs=25, seeds=2, folds=2, alone=True, recipe=EASY)
    assert metrics["ravdess_valid_unweighted_recall"] > 0.9
    assert metrics["ravdess_2_folds_unweighted_recall"] > 0.9
    assert metrics["ravdess_2_folds_unweighted_recall_mean_of_2_seeds"] > 0.9
    assert "ravdess_2_folds_unweighted_recall_under_noise_0_db" in metrics
    description = read_description(tmp_path / "model")
    assert description.audio is not None
    assert description.audio.members == 2
    (recalls, _) = description.audio.groups.values()
    assert list(recalls) == ["men (72 rows)", "women (72 rows)"]
    assert description.permitted_use == "non-commercial"
    assert load_model(tmp_path / "model")._audio is not None
    assert not list((tmp_path / "cache").rglob("*.ckpt"))


def test_what_was_trained_before_an_interruption_is_not_trained_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[SpeechTraining] = []

    def counted(training: SpeechTraining) -> None:
        begun.append(training)
        if len(begun) == 6:
            raise KeyError("power")

    monkeypatch.setattr(SpeechTraining, "on_train_epoch_start", counted)
    options = {"epochs": 2, "seeds": 1, "folds": 3, "alone": True}
    with pytest.raises(KeyError):
        train_speech(data, tmp_path / "model", **options)  # type: ignore[arg-type]
    broken = train_speech(data, tmp_path / "model", **options)  # type: ignore[arg-type]
    # The model's two epochs and those of two folds but one were there: left are that one and a fold.
    assert len(begun) == 6 + 3
    whole = train_speech(data, tmp_path / "another", **options)  # type: ignore[arg-type]
    assert broken == pytest.approx(whole, abs=0)


def test_an_emotion_that_nobody_speaks_is_named_before_hours_of_training(data: Path, tmp_path: Path) -> None:
    table = (data / "clips.csv").read_text()
    (data / "clips.csv").write_text(table.replace(",fearful,", ",sad,"))
    with pytest.raises(DatasetError, match="fear"):
        train_speech(data, tmp_path / "model", epochs=1)
    assert not (tmp_path / "model").exists()


def test_figures_are_by_hand() -> None:
    clips = [
        SpokenClip(path=Path("a"), actor=1 + k % 4, emotion=k % 8, intensity="strong" if k % 2 else "normal") for k in range(16)
    ]
    logits = 8 * torch.eye(len(LABELS))[[clip.emotion for clip in clips]]
    logits[0] = 8 * torch.eye(len(LABELS))[LABELS.index("calm")]  # a neutral one taken for calm: wrong of eight, right of seven
    figures = clip_figures({PLAIN: logits, "noise": logits.flip(1)}, clips)
    assert figures["unweighted_recall"] == pytest.approx(15 / 16)
    assert figures["unweighted_recall_7"] == 1.0
    assert figures["unweighted_recall_under_noise"] == 1 / 16  # the wrong one, turned round
    assert figures["unweighted_recall_low"] <= figures["unweighted_recall"] <= figures["unweighted_recall_high"]
    by_sex, by_intensity = group_figures("x", logits, clips).values()
    assert by_sex == {"men (8 rows)": pytest.approx(7 / 8), "women (8 rows)": 1.0}
    assert by_intensity["strong (8 rows)"] == 1.0


def test_changed_speech_stays_speech_and_is_the_same_each_time() -> None:
    sound = (8_000 * np.sin(np.arange(32_000) / 9)).astype(np.int16)
    lengths = set()
    for number in range(12):
        one, again = (changed(sound, np.random.default_rng((len(CHANGED), number))) for _ in range(2))
        assert np.array_equal(one, again)
        assert one.dtype == np.int16
        assert 0.8 < len(one) / len(sound) < 1.2
        assert one.std() > 300
        lengths.add(len(one))
    assert 3 < len(lengths) < 12
    assert not len(changed(np.zeros(0, np.int16), np.random.default_rng(0)))
