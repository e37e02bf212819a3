from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from stream.errors import InputError
from stream.timeline.clap import camera_latency, measure_clap, motion_energy, sharp_onsets
from stream.timeline.clock_settings import Latency
from stream.timeline.time import NS_PER_MS, NS_PER_SECOND, SAMPLE_RATE

HEIGHT, WIDTH = 24, 80


def sound_of(claps_s: list[float], seconds: float, chance: np.random.Generator) -> np.ndarray:
    """Room noise, and at each clap a burst that dies away within 30 ms."""
    samples = chance.normal(0, 20, round(seconds * SAMPLE_RATE))
    for clap in claps_s:
        first = round(clap * SAMPLE_RATE)
        burst = chance.normal(0, 8_000, 1_500) * np.exp(-np.arange(1_500) / 160)
        samples[first : first + 1_500] += burst
    return np.clip(samples, -32_768, 32_767).astype(np.int16)


def half_distance(instant_s: float, claps_s: list[float]) -> float:
    """Of the two hands from each other, in pixels: they close ever faster, stay for 150 ms and part at half that speed."""
    nearest = min(claps_s, key=lambda clap: abs(clap - instant_s))
    since = instant_s - nearest
    if since < 0:
        return min(30.0, 200 * -since + 100 * since * since)
    return min(30.0, max(0.0, 100 * (since - 0.15)))


def picture(instant_s: float, claps_s: list[float], chance: np.random.Generator) -> np.ndarray:
    """Two bright hands on a dark ground, with the noise of a camera: uint8 (24, 80)."""
    apart = half_distance(instant_s, claps_s)
    column = np.arange(WIDTH)
    hands = np.clip(6 - np.abs(np.abs(column - WIDTH / 2) - 6 - apart) + 0.5, 0, 1)
    shown = 40 + 150 * np.tile(hands, (HEIGHT, 1)) + chance.normal(0, 2, (HEIGHT, WIDTH))
    return np.clip(shown, 0, 255).astype(np.uint8)


def recording(
    lag_s: float, rate: float, seed: int, claps_s: list[float], seconds: float = 4.0
) -> tuple[np.ndarray, int, np.ndarray, np.ndarray]:
    """What `measure_clap` takes: pictures that are stamped `lag_s` late."""
    chance = np.random.default_rng(seed)
    instants = np.arange(chance.uniform(0, 1 / rate), seconds, 1 / rate)
    pictures = [picture(instant, claps_s, chance) for instant in instants]
    motion = [0.0, *(motion_energy(a, b) for a, b in pairwise(pictures))]
    stamps = np.rint((instants + lag_s) * NS_PER_SECOND).astype(np.int64)
    return sound_of(claps_s, seconds, chance), 0, stamps, np.array(motion)


@pytest.mark.parametrize("lag_s", [-0.12, 0.0, 0.085, 0.33])
@pytest.mark.parametrize(("rate", "seed"), [(15, 1), (25, 2), (30, 3), (60, 4)])
def test_the_lag_is_found_within_the_stated_uncertainty(lag_s: float, rate: float, seed: int) -> None:
    found = measure_clap(*recording(lag_s, rate, seed, [0.913, 2.017, 3.131]))
    assert found.claps == 3
    assert abs(found.lag_ns - lag_s * NS_PER_SECOND) <= found.uncertainty_ns
    assert found.uncertainty_ns <= NS_PER_SECOND / rate + 3 * NS_PER_MS


def test_onsets_are_found_to_the_sample_and_speech_is_none() -> None:
    chance = np.random.default_rng(0)
    samples = sound_of([0.5, 1.5], 2.0, chance)
    assert np.abs(sharp_onsets(samples) - [8_000, 24_000]).max() <= 16
    swelling = 8_000 * np.sin(np.arange(32_000) * 0.1) * np.minimum(1, np.arange(32_000) / 8_000)
    assert len(sharp_onsets(swelling.astype(np.int16))) == 0
    assert len(sharp_onsets(np.zeros(100, np.int16))) == 0


def test_where_nobody_claps_it_says_what_is_missing() -> None:
    samples, first_ns, stamps, motion = recording(0.0, 30, 5, [1.0])
    with pytest.raises(InputError, match="found 0 sharp sounds"):
        measure_clap(np.zeros_like(samples), first_ns, stamps, motion)
    with pytest.raises(InputError, match="found 1 sharp sound, 0 with hands"):
        measure_clap(samples, first_ns, stamps, np.zeros_like(motion))
    with pytest.raises(InputError, match="clap three times"):
        measure_clap(samples, first_ns, stamps[:2], motion[:2])


def test_a_camera_is_as_late_as_the_microphone_and_the_lag() -> None:
    clap = measure_clap(*recording(0.06, 30, 6, [1.0, 2.0]))
    latency = camera_latency(Latency(latency_ns=20 * NS_PER_MS, uncertainty_ns=5 * NS_PER_MS), clap)
    assert latency.latency_ns == 20 * NS_PER_MS + clap.lag_ns
    assert latency.uncertainty_ns == 5 * NS_PER_MS + clap.uncertainty_ns


def test_claps_that_disagree_are_no_answer() -> None:
    _, first_ns, stamps, motion = recording(0.0, 30, 7, [0.9, 2.0, 3.1])
    elsewhere = sound_of([0.6, 2.4], 4.0, np.random.default_rng(7))
    with pytest.raises(InputError, match="found 2 sharp sounds, 2 with hands that stop within 500 ms, 0 that agree"):
        measure_clap(elsewhere, first_ns, stamps, motion)
