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
    bands, window, lags = _constants()
    spectrum = torch.fft.rfft(frames * window, TRANSFORM)
    power = spectrum.real.square() + spectrum.imag.square()
    loudness = power.mean() + _SILENCE
    log_bands = torch.log(power @ bands / loudness + _FLOOR)
    level = torch.log(power.mean(1) / loudness + _FLOOR)
    shape = log_bands.softmax(1)
    place = torch.linspace(0, 1, BANDS)
    centroid = shape @ place
    flux = torch.cat([torch.zeros(1), log_bands.diff(dim=0).abs().mean(1)])
    tilt = log_bands[:, : BANDS // 3].mean(1) - log_bands[:, -BANDS // 3 :].mean(1)
    course = torch.cat([log_bands, torch.stack([level, centroid, flux, tilt], 1)], 1)
    return torch.cat([course.mean(0), course.std(0, correction=0), _pitch(power, lags)]).numpy()


def _frames(samples: np.ndarray) -> Tensor:
    """Frames (f, 640) in [-1, 1) without their mean; one at least, padded with zeros."""
    audio = torch.zeros(max(len(samples), FRAME_SAMPLES))
    audio[: len(samples)] = torch.from_numpy(samples.astype(np.float32) / 32768)
    frames = audio.unfold(0, FRAME_SAMPLES, HOP_SAMPLES)
    return frames - frames.mean(1, keepdim=True)


def _pitch(power: Tensor, taper: Tensor) -> Tensor:
    """The six numbers of pitch out of the frames' power spectra (f, 513), by their autocorrelation."""
    correlation = torch.fft.irfft(power, TRANSFORM)
    first, last = int(SAMPLE_RATE / HIGHEST_HZ), int(SAMPLE_RATE / LOWEST_HZ)
    # The window alone makes the correlation fall with the lag; divided by its own it peaks at the period.
    normalised = correlation[:, first:last] / (taper[first:last] * correlation[:, :1] + _SILENCE)
    # A period's multiples are as high as the period: the shorter of two like peaks is the pitch.
    octaves_below = torch.log2(torch.arange(first, last) / first)
    place = (normalised - OCTAVE_COST * octaves_below).argmax(1)
    voiced = normalised.gather(1, place[:, None])[:, 0] > VOICED
    count = int(voiced.sum())
    if not count:
        return torch.zeros(6)
    octaves = torch.log2(SAMPLE_RATE / (place[voiced] + first).float() / 100)
    low, middle, high = torch.quantile(octaves, torch.tensor([0.1, 0.5, 0.9]))
    half = max(1, count // 2)
    step = octaves.diff().abs().clamp(max=0.5).mean() if count > 1 else torch.tensor(0.0)
    change = octaves[-half:].mean() - octaves[:half].mean()
    share = torch.tensor(count / len(voiced))
    return torch.stack([middle, octaves.std(correction=0), high - low, change, step, share])


@cache
def _constants() -> tuple[Tensor, Tensor, Tensor]:
    """Mel bands (513, 24), the window (640,) and the window's own autocorrelation by lag (1024,), at most 1."""
    bands = torchaudio.functional.melscale_fbanks(TRANSFORM // 2 + 1, 60.0, 7600.0, BANDS, SAMPLE_RATE, norm="slaney")
    window = torch.hann_window(FRAME_SAMPLES, periodic=False)
    spectrum = torch.fft.rfft(window, TRANSFORM)
    taper = torch.fft.irfft(spectrum.real.square() + spectrum.imag.square(), TRANSFORM)
    return bands, window, (taper / taper[0]).clamp(min=0.05)
