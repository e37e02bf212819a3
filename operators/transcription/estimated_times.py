"""Where the words of an utterance probably lie, for a transcriber that gives no times: by their letters, where sound is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from stream.timeline.time import NS_PER_SAMPLE, Span

_FRAME: Final = 160
"""Samples of one frame of energy: 10 ms."""
_BELOW_PEAK: Final = 0.08
"""A frame is sounding from this share (-22 dB) of the utterance's loud frames on. Words so placed were .14 s off on
average against a forced alignment; spread evenly over the utterance, .17 s."""


def spread_words(words: Sequence[str], samples: np.ndarray, start_ns: int) -> list[Span]:
    """One span per word, in order, disjoint, inside the int16 (n,) samples that start at `start_ns`.

    Each word takes of the sounding time a share by its number of characters, so that pauses lie between words.
    """
    if not words:
        return []
    sounding = _sounding_frames(samples)
    edges = np.concatenate([[0], np.cumsum(sounding)])
    letters = np.array([len(word) for word in words], np.float64)
    shares = np.concatenate([[0.0], np.cumsum(letters)]) / letters.sum() * edges[-1]
    spans = []
    last_ns = start_ns
    end_ns = start_ns + len(samples) * NS_PER_SAMPLE
    for before, after in pairwise(shares):
        # Where the running sum stands still there is a pause: a word begins behind it and ends before it.
        first = _instant(edges, before, "right")
        last = _instant(edges, after, "left")
        first_ns = max(last_ns, min(start_ns + first * NS_PER_SAMPLE, end_ns))
        last_ns = max(first_ns, min(start_ns + last * NS_PER_SAMPLE, end_ns))
        spans.append(Span(first_ns, last_ns))
    return spans


def _sounding_frames(samples: np.ndarray) -> np.ndarray:
    """Which frames sound, bool (ceil(n / 160),); all of them where none stands out."""
    padded = np.zeros(-(-len(samples) // _FRAME) * _FRAME, np.float32)
    padded[: len(samples)] = samples
    loudness = np.sqrt(np.mean(padded.reshape(-1, _FRAME) ** 2, axis=1))
    sounding: np.ndarray = loudness > _BELOW_PEAK * np.percentile(loudness, 95)
    return sounding if sounding.any() else np.ones_like(sounding)


def _instant(edges: np.ndarray, share: float, side: str) -> int:
    """The sample at which the running sum of sounding frames reaches `share`, before or after a pause."""
    if side == "right":
        frame = min(int(np.searchsorted(edges, share, "right")) - 1, len(edges) - 2)
    else:
        frame = max(int(np.searchsorted(edges, share, "left")) - 1, 0)
    return round((frame + min(max(float(share - edges[frame]), 0.0), 1.0)) * _FRAME)
