"""What the model reads of a voice in a session is what training reads of the same bytes."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor, nn

from deploy.demo_clip import packaged_speech
from deploy.inline import LoadedOperators, open_session
from operators.datasets.ravdess import SpokenClip
from operators.training.progress import silently
from operators.training.speech_features import PLAIN, clip_features


def test_training_and_a_session_read_the_same_of_a_file(
    operators: LoadedOperators, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = first_utterance(packaged_speech()[-1], tmp_path / "clip.wav")
    monkeypatch.setattr("operators.training.feature_cache.training_cache", lambda: tmp_path / "cache")
    trained = clip_features(tmp_path, [SpokenClip(path=clip, actor=1, emotion=0)], PLAIN, silently)

    read: list[tuple[Tensor, ...]] = []

    def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        read.append(inputs)

    part = operators.model._audio
    assert part is not None
    hook = part.pooling.register_forward_pre_hook(keep)
    try:
        with open_session(str(clip), operators=operators, provisional=False) as session:
            list(session)
    finally:
        hook.remove()
    ((layers, prosody),) = read
    np.testing.assert_array_equal(layers.numpy(), trained.layers)
    np.testing.assert_array_equal(prosody.numpy(), trained.prosody[0])


def first_utterance(sound: Path, clip: Path) -> Path:
    """The beginning of a wav file, before its first pause, and a second of silence: one utterance to the session too."""
    with wave.open(str(sound)) as source, wave.open(str(clip), "wb") as out:
        out.setparams(source.getparams())
        rate = source.getframerate()
        out.writeframes(source.readframes(round(1.2 * rate)) + bytes(rate * source.getsampwidth() * source.getnchannels()))
    return clip
