"""How something is said: level, spectrum and pitch of an utterance."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torchaudio
from torch import Tensor

from stream.timeline.time import SAMPLE_RATE

FRAME_SAMPLES = 640
HOP_SAMPLES = 160
"""Frames of 40 ms (two periods of the lowest voice) every 10 ms."""
TRANSFORM = 1024
"""Length of the transform: a frame and the longest lag, so that the autocorrelation does not fold."""
BANDS = 24
LOWEST_HZ, HIGHEST_HZ = 65.0, 500.0
"""Where a voice's pitch is looked for."""
SHORTEST, LONGEST = int(SAMPLE_RATE / HIGHEST_HZ), int(SAMPLE_RATE / LOWEST_HZ)
"""Its periods in samples."""
FRAMES_AT_ONCE = 128
"""Frames that are transformed together: those of 15 s at once take 30 MB, in blocks of another size for each utterance, which
left holes in the heap that grew for hours."""
VOICED = 0.5
"""Height of the autocorrelation's peak, as a share of the frame's energy, from which a frame counts as voiced."""
OCTAVE_COST = 0.05
"""What a peak must be higher to be preferred to one an octave above."""
_FLOOR = 3e-5
"""Added to energies as a share of the utterance's mean: what lies 45 dB below it is the room's, not the speaker's."""
_SILENCE = 1e-10
"""Energy of samples in [-1, 1) that stands for digital silence."""
PROSODY_DIM = 2 * BANDS + 2 * 4 + 6


@torch.inference_mode()
def prosody(samples: np.ndarray) -> np.ndarray:
    """Float32 (62,) of int16 (n,) samples at 16 kHz; a change of gain changes nothing but rounding.

    Log energies of 24 mel bands over the utterance's mean (mean, deviation of each); level, centroid, flux and tilt (mean,
    deviation of each); pitch in octaves from 100 Hz over voiced frames (median, deviation, range from 10 to 90 %, change
    from the first to the second half, mean step) and the share of voiced frames. Without a voiced frame pitch is 0.
    """
    frames = _frames(samples)
    bands, _, _, _ = _constants()
    power = torch.empty(len(frames), TRANSFORM // 2 + 1)
    periods, heights = torch.empty(len(frames), dtype=torch.long), torch.empty(len(frames))
    for first in range(0, len(frames), FRAMES_AT_ONCE):
        part = slice(first, first + FRAMES_AT_ONCE)
        power[part] = _power(frames[part])
        periods[part], heights[part] = _peaks(power[part])
    loudness = power.mean() + _SILENCE
    log_bands = torch.log(power @ bands / loudness + _FLOOR)
    level = torch.log(power.mean(1) / loudness + _FLOOR)
    shape = log_bands.softmax(1)
    place = torch.linspace(0, 1, BANDS)
    centroid = shape @ place
    flux = torch.cat([torch.zeros(1), log_bands.diff(dim=0).abs().mean(1)])
    tilt = log_bands[:, : BANDS // 3].mean(1) - log_bands[:, -BANDS // 3 :].mean(1)
    course = torch.cat([log_bands, torch.stack([level, centroid, flux, tilt], 1)], 1)
    return torch.cat([course.mean(0), course.std(0, correction=0), _pitch(periods[heights > VOICED], len(frames))]).numpy()


def _frames(samples: np.ndarray) -> Tensor:
    """Frames (f, 640) in [-1, 1), views of the samples; one at least, padded with zeros."""
    audio = torch.zeros(max(len(samples), FRAME_SAMPLES))
    audio[: len(samples)] = torch.from_numpy(samples.astype(np.float32) / 32768)
    return audio.unfold(0, FRAME_SAMPLES, HOP_SAMPLES)


def _power(frames: Tensor) -> Tensor:
    """Power spectra (f, 513) of frames (f, 640), without their mean."""
    _, window, _, _ = _constants()
    spectrum = torch.fft.rfft((frames - frames.mean(1, keepdim=True)) * window, TRANSFORM)
    return spectrum.real.square() + spectrum.imag.square()


def _peaks(power: Tensor) -> tuple[Tensor, Tensor]:
    """The period of each frame in samples int64 (f,) and how high its peak is (f,), out of power spectra (f, 513)."""
    _, _, taper, cost = _constants()
    correlation = torch.fft.irfft(power, TRANSFORM)
    # The window alone makes the correlation fall with the lag; divided by its own it peaks at the period.
    normalised = correlation[:, SHORTEST:LONGEST] / (taper * correlation[:, :1] + _SILENCE)
    # A period's multiples are as high as the period: the shorter of two like peaks is the pitch.
    place = (normalised - cost).argmax(1)
    return place + SHORTEST, normalised.gather(1, place[:, None])[:, 0]


def _pitch(periods: Tensor, frames: int) -> Tensor:
    """The six numbers of pitch out of the periods (v,) of the voiced ones of so many frames."""
    count = len(periods)
    if not count:
        return torch.zeros(6)
    octaves = torch.log2(SAMPLE_RATE / periods.float() / 100)
    low, middle, high = torch.quantile(octaves, torch.tensor([0.1, 0.5, 0.9]))
    half = max(1, count // 2)
    step = octaves.diff().abs().clamp(max=0.5).mean() if count > 1 else torch.tensor(0.0)
    change = octaves[-half:].mean() - octaves[:half].mean()
    share = torch.tensor(count / frames)
    return torch.stack([middle, octaves.std(correction=0), high - low, change, step, share])


@cache
def _constants() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mel bands (513, 24), the window (640,), and by lag its own autocorrelation, at most 1, and the cost of octaves below."""
    bands = torchaudio.functional.melscale_fbanks(TRANSFORM // 2 + 1, 60.0, 7600.0, BANDS, SAMPLE_RATE, norm="slaney")
    window = torch.hann_window(FRAME_SAMPLES, periodic=False)
    spectrum = torch.fft.rfft(window, TRANSFORM)
    taper = torch.fft.irfft(spectrum.real.square() + spectrum.imag.square(), TRANSFORM)
    octaves_below = torch.log2(torch.arange(SHORTEST, LONGEST) / SHORTEST)
    return bands, window, (taper / taper[0]).clamp(min=0.05)[SHORTEST:LONGEST], OCTAVE_COST * octaves_below
