"""The active speaker: which of several visible mouths moves as the sound does, and how sure that is. Pure, on numpy.

Mouths and sound are projected so that the two agree where they belong together: canonical correlation, as of Slaney and
Covell, "FaceSync: a linear operator for measuring synchronization of video facial images and audio tracks", NIPS 2000.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

import msgspec
import numpy as np

from operators.faces.mouths import SIDE
from stream.timeline.packets import Mouths
from stream.timeline.time import NS_PER_MS, NS_PER_SAMPLE, SAMPLE_RATE, Span

STEP_NS: Final = 40 * NS_PER_MS
"""The grid on which mouths and sound are compared: 25 a second, the usual frame rate; other rates are interpolated."""
_HOP: Final = 160
_WINDOW: Final = 400
_TRANSFORM: Final = 512
_BANDS: Final = 24
_LOWEST_HZ, _HIGHEST_HZ = 80.0, 7600.0
_CEPSTRA: Final = 10
_PATTERNS: Final = 8
"""Cosines down and across a mouth of which the coarser ones are kept."""
_MOUTH_OFFSETS: Final = (-2, 0, 2)
"""Steps: what of a mouth before and after an instant belongs to it."""
_SOUND_OFFSETS: Final = (-3.0, -1.5, 0.0, 1.5, 3.0)
_FLOOR: Final = 1e-4
"""Added to energies as a share of the mean: what lies 40 dB below is the room's."""
_NEAR: Final = np.arange(-3, 4)
"""Steps by which the sound may lag behind the picture: in files it does by one, in live streams by three."""
_FAR: Final = np.concatenate([np.arange(-12, -5), np.arange(6, 13)])
"""Lags at which even the speaker's mouth does not fit: how well anything fits that is not it."""
_LAG_DEVIATION: Final = 1.5


class SpeakerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a face is called the speaker."""

    certain: float = 0.8
    """Certainty below which the speaker is unknown."""
    shortest_ns: int = 1_000 * NS_PER_MS
    """How long a mouth must be seen during speech to be judged: syllables come four a second."""
    max_gap_ns: int = 130 * NS_PER_MS
    """Farther apart than this, frames show no syllables: at 8 frames a second, lips can't be followed."""


class SpeakerWeights(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The two projections, float32 (126, d) of mouths and (50, d) of sound, and what a score means.

    `gain` is by how much a step of the grid makes a difference of scores more certain, `level` the score that speaks neither
    for a face nor against it. `licence` is the permitted use and the licence of what they were fitted on.
    """

    mouth: np.ndarray
    sound: np.ndarray
    gain: float
    level: float
    licence: str | None = None


MOUTH_DIM: Final = 126
SOUND_DIM: Final = len(_SOUND_OFFSETS) * _CEPSTRA


def certainties(
    mouths: Mapping[int, Sequence[Mouths]],
    samples: np.ndarray,
    start_ns: int,
    weights: SpeakerWeights,
    settings: SpeakerSettings | None = None,
) -> dict[int, float]:
    """Probability of each face track that it is the one heard in int16 (n,) samples at 16 kHz from `start_ns` on.

    What is missing to one in their sum is that none of them is. A track that can't be judged is left out: its mouth is not
    seen for long enough in the time of the samples, or too seldom.
    """
    settings = settings or SpeakerSettings()
    span = Span(start_ns, start_ns + len(samples) * NS_PER_SAMPLE)
    grid_ns = np.arange(-(-span.start_ns // STEP_NS) * STEP_NS, span.end_ns, STEP_NS)
    evidence: dict[int, float] = {}
    sound: np.ndarray | None = None
    for track in sorted(mouths):
        seen = visible_steps(mouths[track], grid_ns, settings.max_gap_ns)
        if int(seen.sum()) * STEP_NS < settings.shortest_ns:
            continue
        if sound is None:
            sound = sound_features(samples, grid_ns - start_ns) @ weights.sound
        fit = lagged_fit(mouth_features(mouths[track], grid_ns) @ weights.mouth, sound, seen)
        evidence[track] = float(log_evidence(fit, seen.sum(), weights))
    total = np.logaddexp.reduce([0.0, *evidence.values()])
    return {track: float(np.exp(value - total)) for track, value in evidence.items()}


def log_evidence(fits: np.ndarray, steps: np.ndarray | int, weights: SpeakerWeights) -> np.ndarray:
    """Log odds (...) that a face speaks rather than none of the visible, out of fits (..., 7) over `steps` (...)."""
    prior = -0.5 * (_NEAR / _LAG_DEVIATION) ** 2
    prior = prior - np.logaddexp.reduce(prior)
    gain = weights.gain * np.asarray(steps)[..., None]
    odds: np.ndarray = np.logaddexp.reduce(prior + gain * (fits - weights.level), axis=-1)
    return odds


def lagged_fit(mouth: np.ndarray, sound: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """How well projections (n, d) of a mouth and of the sound agree at each near lag, float64 (7,), above the far ones.

    `seen` bool (n,) says where the mouth was seen. Correlations of the projections, averaged.
    """
    far = np.mean([_correlation(mouth, sound, seen, int(lag)) for lag in _FAR])
    return np.array([_correlation(mouth, sound, seen, int(lag)) - far for lag in _NEAR])


def _correlation(mouth: np.ndarray, sound: np.ndarray, seen: np.ndarray, lag: int) -> float:
    count = len(mouth)
    later, earlier = slice(max(0, lag), count + min(0, lag)), slice(max(0, -lag), count - max(0, lag))
    kept = seen[later]
    if int(kept.sum()) < 2:
        return 0.0
    x, y = mouth[later][kept], sound[earlier][kept]
    x, y = x - x.mean(0), y - y.mean(0)
    return float(np.mean((x * y).sum(0) / np.sqrt((x * x).sum(0) * (y * y).sum(0) + 1e-12)))


def visible_steps(mouths: Sequence[Mouths], grid_ns: np.ndarray, max_gap_ns: int) -> np.ndarray:
    """Bool (n,): where on the grid a mouth was seen before and after within `max_gap_ns` of each other."""
    times_ns = np.concatenate([m.times_ns for m in mouths]) if mouths else np.zeros(0, np.int64)
    if not len(times_ns):
        return np.zeros(len(grid_ns), np.bool_)
    after = np.searchsorted(times_ns, grid_ns)
    exact = times_ns[np.minimum(after, len(times_ns) - 1)] == grid_ns
    inside = (after > 0) & (after < len(times_ns))
    after = np.clip(after, 1, max(1, len(times_ns) - 1))
    between = inside & (len(times_ns) > 1)
    if len(times_ns) > 1:
        between &= times_ns[after] - times_ns[after - 1] <= max_gap_ns
    seen: np.ndarray = exact | between
    return seen


def mouth_features(mouths: Sequence[Mouths], grid_ns: np.ndarray) -> np.ndarray:
    """Float64 (n, 126): coarse cosine patterns of a mouth at each step of the grid and 80 ms before and after.

    Free of the light, and symmetric: what differs left from right is the head's pose, hardly speech.
    """
    crops = np.concatenate([m.crops for m in mouths]).astype(np.float64)
    times_ns = np.concatenate([m.times_ns for m in mouths])
    crops -= crops.mean(axis=(1, 2), keepdims=True)
    crops /= crops.mean(axis=0).std() + 2.0  # grey levels: a mouth in the dark is mostly noise, which stays small
    down, across = _cosines(SIDE, _PATTERNS), _cosines(SIDE, 2 * _PATTERNS)[::2]
    row, column = np.meshgrid(np.arange(_PATTERNS), np.arange(_PATTERNS), indexing="ij")
    coarse = (row + column <= _PATTERNS) & (row + column > 0)
    patterns = (down @ crops @ across.T)[:, coarse]
    steps = np.arange(len(grid_ns))
    on_grid = np.stack([np.interp(grid_ns, times_ns, pattern) for pattern in patterns.T], axis=1)
    return np.concatenate([on_grid[np.clip(steps + k, 0, len(steps) - 1)] for k in _MOUTH_OFFSETS], axis=1)


def sound_features(samples: np.ndarray, at_ns: np.ndarray) -> np.ndarray:
    """Float64 (n, 50): cepstra of int16 samples at 16 kHz around each instant (n,), which counts from the first sample."""
    bands, cosines, smooth = _sound_constants()
    count = max(1, len(samples) // _HOP)
    padded = np.zeros(len(samples) + _WINDOW + _TRANSFORM)
    padded[_WINDOW // 2 : _WINDOW // 2 + len(samples)] = samples / 32768.0
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[: count * _HOP : _HOP] * np.hanning(_WINDOW)
    energies = (np.abs(np.fft.rfft(frames, _TRANSFORM)) ** 2) @ bands
    cepstra = np.log(energies / (energies.mean() + 1e-10) + _FLOOR) @ cosines.T
    half = len(smooth) // 2
    edged = np.pad(cepstra, ((half, half), (0, 0)), mode="symmetric")
    course = np.stack([np.convolve(column, smooth, "valid") for column in edged.T], axis=1)
    places = at_ns / (_HOP * NS_PER_SAMPLE)
    per_step = STEP_NS / (_HOP * NS_PER_SAMPLE)
    frame = np.arange(len(course))
    return np.concatenate(
        [
            np.stack([np.interp(places + offset * per_step, frame, column) for column in course.T], axis=1)
            for offset in _SOUND_OFFSETS
        ],
        axis=1,
    )


@cache
def _cosines(length: int, count: int) -> np.ndarray:
    """The first `count` orthonormal cosines (DCT-II) of `length` places, float64 (count, length)."""
    places = (np.arange(length) + 0.5) / length
    waves = np.cos(np.pi * places * np.arange(count)[:, None]) * np.sqrt(2 / length)
    waves[0] /= np.sqrt(2)
    return waves


@cache
def _sound_constants() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mel bands (257, 24), cosines over them (10, 24), and a bell of 20 ms deviation (17,) that adds up to one."""
    mel = np.linspace(_mel(_LOWEST_HZ), _mel(_HIGHEST_HZ), _BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    hertz = np.fft.rfftfreq(_TRANSFORM, 1 / SAMPLE_RATE)[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    bands = np.clip(np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)), 0, None)
    bell = np.exp(-0.5 * (np.arange(-8, 9) / 2) ** 2)
    return bands, _cosines(_BANDS, _CEPSTRA), bell / bell.sum()


def _mel(hertz: float) -> float:
    return float(2595 * np.log10(1 + hertz / 700))
