from __future__ import annotations

import numpy as np
import pytest

from operators.encoders.prosody import BANDS, PROSODY_DIM, prosody

PITCH, RANGE, CHANGE, VOICED = -6, -4, -3, -1


def voice(pitch_hz: float, seconds: float = 1.0, glide: float = 0.0) -> np.ndarray:
    """A buzz with ten harmonics, its pitch gliding by `glide` octaves."""
    t = np.arange(int(16_000 * seconds)) / 16_000
    phase = 2 * np.pi * np.cumsum(pitch_hz * 2 ** (glide * t / seconds)) / 16_000
    return (3_000 * sum(np.sin(k * phase) / k for k in range(1, 11))).astype(np.int16)


@pytest.mark.parametrize("pitch_hz", [80.0, 120.0, 220.0, 400.0])
def test_pitch_of_a_steady_voice(pitch_hz: float) -> None:
    found = prosody(voice(pitch_hz))
    assert 100 * 2 ** found[PITCH] == pytest.approx(pitch_hz, rel=0.03)
    assert found[RANGE] == pytest.approx(0, abs=0.05)
    assert found[VOICED] == 1


def test_a_rising_voice_rises() -> None:
    assert prosody(voice(120, glide=0.8))[CHANGE] == pytest.approx(0.4, abs=0.1)
    assert prosody(voice(220, glide=-0.8))[CHANGE] == pytest.approx(-0.4, abs=0.1)


def test_noise_is_not_voiced_and_brighter_than_a_voice() -> None:
    noise = (3_000 * np.random.default_rng(0).standard_normal(16_000)).astype(np.int16)
    centroid = 2 * BANDS // 2 + 1
    assert prosody(noise)[VOICED] < 0.05
    assert prosody(noise)[centroid] > prosody(voice(120))[centroid] + 0.2


def test_gain_changes_nothing_but_rounding() -> None:
    loud = np.concatenate([voice(110, glide=0.5), np.zeros(4_000, np.int16), voice(180, 0.5)])
    np.testing.assert_allclose(prosody(loud), prosody(loud // 3), atol=0.05)


@pytest.mark.parametrize("count", [0, 1, 639, 641, 16_000])
def test_any_length_and_silence_give_finite_numbers(count: int) -> None:
    found = prosody(np.zeros(count, np.int16))
    assert found.shape == (PROSODY_DIM,)
    assert np.isfinite(found).all()
    assert found[VOICED] == 0


def test_it_does_not_matter_how_many_frames_are_transformed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    spoken = np.concatenate([voice(110, 2.3, glide=0.5), np.zeros(4_000, np.int16), voice(180, 1.7)])
    found = {prosody(spoken).tobytes()}
    for at_once in (16, 100, 10_000):
        monkeypatch.setattr("operators.encoders.prosody.FRAMES_AT_ONCE", at_once)
        found.add(prosody(spoken).tobytes())
    assert len(found) == 1
