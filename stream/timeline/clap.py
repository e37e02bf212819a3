"""By how much a camera lags behind a microphone, from a clap that both have seen.

Hands that clap move until the very moment that sounds: the picture's motion ends where the sound begins.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from stream.errors import InputError
from stream.timeline.clock_settings import Latency
from stream.timeline.time import NS_PER_MS, NS_PER_SAMPLE

_HOP: Final = 16
"""Samples (1 ms) of one step of loudness."""
_BEFORE: Final = 200
"""Steps that a clap has to stand out from."""
_RISE: Final = 100.0
"""Ratio of power (20 dB) by which it does, within `_ATTACK` steps; speech rises so far only over tens of milliseconds."""
_ATTACK: Final = 4
_QUIET: Final = 100.0
"""Mean square below which a step is no louder than silence (16-bit samples: 10 of 32768)."""
_APART: Final = 300
"""Steps between two claps; nearer ones are echoes, or the same hands."""
SEARCH_NS: Final = 500 * NS_PER_MS
"""How far the picture may lag or lead; cameras with a long queue lag by a third of a second."""
_AGREE_NS: Final = 80 * NS_PER_MS
"""Claps that disagree with the middle one by more were something else."""
_LEAST_FALL: Final = 0.4
"""Motion has to fall by this part of the most that there is: hands that clap move faster than anything else."""
_LEAST_MOTION: Final = 0.5
"""Steps of 255, and as much again as the noise of the camera: below it nothing has moved."""
_SOUND_NS: Final = 3 * NS_PER_MS
"""What sound takes for the metre between hands and microphone."""


class ClapLag(NamedTuple):
    """Picture behind sound (negative: before it), the half-width that holds the true lag, and how many claps agreed."""

    lag_ns: int
    uncertainty_ns: int
    claps: int


def motion_energy(before: np.ndarray, picture: np.ndarray) -> float:
    """How much two pictures, uint8 of one shape, differ: the mean absolute difference, in steps of 255."""
    return float(np.mean(np.abs(picture.astype(np.int16) - before)))


def sharp_onsets(samples: np.ndarray) -> np.ndarray:
    """Where sounds as sharp as a clap begin: int64 (k,), in samples, of int16 (n,) at 16 kHz."""
    steps = len(samples) // _HOP
    if steps <= _BEFORE:
        return np.zeros(0, np.int64)
    power = np.square(samples[: steps * _HOP].astype(np.float64)).reshape(steps, _HOP).mean(axis=1)
    onsets: list[int] = []
    total = np.concatenate([[0.0], np.cumsum(power)])
    # The background is the mean of what lies before the attack.
    at = np.arange(_BEFORE + _ATTACK, steps)
    background = np.maximum((total[at - _ATTACK] - total[at - _ATTACK - _BEFORE]) / _BEFORE, _QUIET)
    for step in at[power[at] > _RISE * background]:
        if not onsets or step * _HOP - onsets[-1] >= _APART * _HOP:
            onsets.append(_first_loud(samples, int(step)))
    return np.array(onsets, np.int64)


def _first_loud(samples: np.ndarray, step: int) -> int:
    """The first sample of the attack that is a fifth as loud as its peak."""
    first = (step - _ATTACK) * _HOP
    attack = np.abs(samples[first : (step + 1) * _HOP].astype(np.int32))
    return first + int(np.argmax(attack >= attack.max() / 5))


def measure_clap(samples: np.ndarray, first_ns: int, picture_ns: np.ndarray, motion: np.ndarray) -> ClapLag:
    """The lag between sound and picture of the claps in a recording.

    `samples`: int16 (n,) at 16 kHz, the first at `first_ns`. `picture_ns`: int64 (m,), in order; `motion`: float (m,), how
    much each picture differs from the one before (`motion_energy`; the first's is not looked at).

    A clap's moment lies between the last pictures that differ: the share of the last difference in the one before it says
    where. The stated half-width is half a picture's time (what its exposure leaves open), or more where claps disagree,
    and 3 ms for the way of the sound. Raises `InputError` where no clap is found in both, or most disagree.
    """
    lags: list[float] = []
    onsets = sharp_onsets(samples)
    if len(picture_ns) >= 4:
        lags = [
            lag for onset in onsets if (lag := _lag_ns(first_ns + int(onset) * NS_PER_SAMPLE, picture_ns, motion)) is not None
        ]
    agreeing = np.array([lag for lag in lags if abs(lag - np.median(lags)) <= _AGREE_NS])
    if 2 * len(agreeing) <= len(lags) or not lags:
        sharp = f"{len(onsets)} sharp sound{'' if len(onsets) == 1 else 's'}"
        raise InputError(
            "clap in the recording",
            found=f"{sharp}, {len(lags)} with hands that stop within {SEARCH_NS // NS_PER_MS} ms, {len(agreeing)} that agree",
            expected="claps that are heard and seen, most of them equally late",
            fix="clap three times, a second apart, hands large in the picture, nothing else moving",
        )
    half_picture_ns = float(np.median(np.diff(picture_ns))) / 2
    scatter_ns = float(np.abs(agreeing - np.median(agreeing)).max())
    uncertainty_ns = max(half_picture_ns, scatter_ns) + _SOUND_NS
    return ClapLag(round(float(np.median(agreeing))), round(uncertainty_ns), len(agreeing))


def _lag_ns(sound_ns: int, picture_ns: np.ndarray, motion: np.ndarray) -> float | None:
    """How long after a sound the hands stop in the picture; None where nothing stops sharply."""
    near = np.flatnonzero(np.abs(picture_ns - sound_ns) <= SEARCH_NS)
    near = near[(near >= 2) & (near < len(motion) - 1)]
    if len(near) == 0:
        return None
    noise = float(np.quantile(motion[1:], 0.1))
    # At the picture that shows the contact first, motion was whole one picture before and is over one picture after.
    fall = motion[near - 1] - motion[near + 1]
    best = int(near[np.argmax(fall)])
    if fall.max() < max(_LEAST_FALL * (motion[1:].max() - noise), noise, _LEAST_MOTION):
        return None
    share = (motion[best] - motion[best + 1]) / (motion[best - 1] - motion[best + 1])
    before_ns = picture_ns[best - 1]
    return float(before_ns + min(max(share, 0.0), 1.0) * (picture_ns[best] - before_ns) - sound_ns)


def camera_latency(microphone: Latency, clap: ClapLag) -> Latency:
    """What a clap says of a camera's latency, given the microphone's."""
    return Latency(
        latency_ns=microphone.latency_ns + clap.lag_ns, uncertainty_ns=microphone.uncertainty_ns + clap.uncertainty_ns
    )
