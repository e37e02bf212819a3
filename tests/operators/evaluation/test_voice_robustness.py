from __future__ import annotations

import numpy as np
import pytest

from operators.evaluation.voice_robustness import DEGRADATIONS, band_limited, coloured_noise, degraded, in_noise

RATE = 16_000


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return (3_000 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.int16)


@pytest.mark.parametrize("ratio_db", [20.0, 10.0, 0.0])
def test_noise_is_as_loud_as_said_whatever_the_pauses(ratio_db: float) -> None:
    voice = np.concatenate([np.zeros(RATE, np.int16), tone(200), np.zeros(RATE, np.int16)])
    noise = coloured_noise(len(voice), 1.0, np.random.default_rng(0))
    added = in_noise(voice, ratio_db, noise).astype(float) - voice
    measured = 20 * np.log10(tone(200).astype(float).std() / added.std())
    assert measured == pytest.approx(ratio_db, abs=0.3)


@pytest.mark.parametrize(("fall", "expected_db"), [(0.0, 0.0), (1.0, -3.0), (2.0, -6.0)])
def test_coloured_noise_falls_by_the_octave(fall: float, expected_db: float) -> None:
    power = np.abs(np.fft.rfft(coloured_noise(20 * RATE, fall, np.random.default_rng(0)))) ** 2
    hertz = np.fft.rfftfreq(20 * RATE, 1 / RATE)
    octaves = [power[(hertz >= low) & (hertz < 2 * low)].mean() for low in (250, 500, 1000)]
    steps = 10 * np.log10(np.array(octaves[1:]) / np.array(octaves[:-1]))
    np.testing.assert_allclose(steps, expected_db, atol=0.3)
    assert power[hertz < 40].max() < 1e-9 * power.max()


def test_a_band_keeps_what_is_inside() -> None:
    both = tone(1_000) + tone(6_000)
    np.testing.assert_allclose(band_limited(both, 0, 4_000), tone(1_000), atol=3)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_a_degraded_recording_is_the_same_each_time_and_another_one(name: str) -> None:
    voice = tone(500) + tone(5_000)
    worse = degraded(voice, DEGRADATIONS[name])
    assert worse.dtype == np.int16
    assert worse.shape == voice.shape
    assert np.array_equal(worse, degraded(voice, DEGRADATIONS[name]))
    assert not np.array_equal(worse, voice)


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("count", [0, 1, 319, 321])
def test_short_and_silent_recordings_stay_what_they_are(name: str, count: int) -> None:
    assert not degraded(np.zeros(count, np.int16), DEGRADATIONS[name]).any()


def test_each_recording_has_noise_of_its_own() -> None:
    one, other = (degraded(voice, DEGRADATIONS["noise_10_db"]) - voice for voice in (tone(500), tone(600)))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.1
