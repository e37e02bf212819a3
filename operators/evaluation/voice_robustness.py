"""Voices as a live microphone may hear them (in noise, over a telephone), for figures and for training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import numpy as np

from stream.timeline.time import SAMPLE_RATE

Degradation = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""A recording int16 (n,) at 16 kHz as it would have sounded under worse conditions."""

SEED: Final = 0
"""Of the random parts of a figure, with what is of a recording's own: the same noise each time."""
PINK: Final = 1.0
"""Power that falls with the frequency, as that of rooms and streets does."""
_FRAME: Final = 320
_AUDIBLE: Final = 1e-3
"""Frames within 30 dB of the loudest one are the voice; pauses would make the noise fainter than it is said to be."""


def in_noise(samples: np.ndarray, ratio_db: float, noise: np.ndarray) -> np.ndarray:
    """Recording int16 (n,) with noise (n,) of any scale, `ratio_db` fainter than the voice."""
    level = _level(samples) * 10 ** (-ratio_db / 20) / max(float(noise.std()), 1e-9)
    return _int16(samples + noise * level)


def coloured_noise(count: int, fall: float, random: np.random.Generator) -> np.ndarray:
    """Noise (count,) from 40 Hz on, whose power falls with the frequency to the power of `fall`: 0 white, 1 pink, 2 brown."""
    frequencies = np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    spectrum = np.fft.rfft(random.standard_normal(count))
    audible = frequencies >= 40
    spectrum[audible] *= frequencies[audible] ** (-fall / 2)
    spectrum[~audible] = 0
    return np.fft.irfft(spectrum, count)


def band_limited(samples: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    """Recording int16 (n,) without what lies outside a band."""
    frequencies = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    spectrum = np.fft.rfft(samples.astype(np.float64))
    spectrum[(frequencies < low_hz) | (frequencies > high_hz)] = 0
    return _int16(np.fft.irfft(spectrum, len(samples)))


def _pink(ratio_db: float) -> Degradation:
    return lambda samples, random: in_noise(samples, ratio_db, coloured_noise(len(samples), PINK, random))


DEGRADATIONS: Final[dict[str, Degradation]] = {
    "noise_10_db": _pink(10.0),
    "noise_0_db": _pink(0.0),
    "8_khz": lambda samples, _: band_limited(samples, 0.0, 4000.0),
}
"""By name what the figures are about: pink noise 10 dB below the voice, as loud as it, and sound sampled at 8 kHz."""


def degraded(samples: np.ndarray, degradation: Degradation) -> np.ndarray:
    """Recording int16 (n,) degraded; the same each time, whichever other recordings are judged and in whatever order."""
    if not len(samples):
        return samples
    own = int.from_bytes(hashlib.sha256(samples.astype("<i2").tobytes()).digest()[:8], "little")
    return degradation(samples, np.random.default_rng((SEED, own)))


def _level(samples: np.ndarray) -> float:
    """Root mean square of the voice in a recording."""
    whole = samples[: len(samples) // _FRAME * _FRAME] if len(samples) >= _FRAME else samples
    power = np.square(whole.astype(np.float64)).reshape(-1, min(_FRAME, max(1, len(whole)))).mean(1)
    return float(np.sqrt(power[power >= _AUDIBLE * power.max()].mean()))


def _int16(samples: np.ndarray) -> np.ndarray:
    """Limited as a microphone limits."""
    return np.clip(np.round(samples), -32768, 32767).astype(np.int16)
