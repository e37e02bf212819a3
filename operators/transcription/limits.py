"""What a transcriber is asked, and when it is believed: the same for all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import msgspec
import numpy as np

from stream.timeline.time import SAMPLE_RATE

WORD_STREAM: Final = "transcript"
"""The stream that a transcriber's words name."""
_FRAME: Final = 160
"""Samples of one frame in the search for a quiet place: 10 ms."""


class TranscriberSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a transcriber is asked and believed."""

    shortest_samples: int = SAMPLE_RATE // 4
    """Shorter audio gives no words: below it are clicks."""
    longest_samples: int = 16 * SAMPLE_RATE
    """Longer audio is cut at its quietest frames: decoders loop beyond."""
    tokens_per_second: float = 6.5
    """The decoder is stopped there; speech has about 4."""
    least_log_probability: float = -0.8
    """A transcript whose mean over tokens lies below is rejected: every utterance tried lay above -.56, more than half
    of the sounds without speech below."""

    def most_tokens(self, sample_count: int) -> int:
        """How many tokens so many samples may give."""
        return math.ceil(self.tokens_per_second * sample_count / SAMPLE_RATE)

    def pieces(self, samples: np.ndarray) -> Iterator[tuple[int, int]]:
        """First and last sample of the pieces that int16 (n,) samples are transcribed in: one, unless they are too long."""
        first, longest = 0, self.longest_samples
        while len(samples) - first > longest:
            # The last fifth: short enough that pieces stay long, long enough to hold a pause between words.
            last = first + _quietest(samples[first : first + longest], longest * 4 // 5)
            yield first, last
            first = last
        yield first, len(samples)


def _quietest(samples: np.ndarray, first: int) -> int:
    """The middle of the quietest 10 ms of int16 (n,) samples from sample `first` on, as a sample's number."""
    count = (len(samples) - first) // _FRAME
    frames = samples[first : first + count * _FRAME].astype(np.float32).reshape(count, _FRAME)
    return first + int(np.argmin(np.mean(frames**2, axis=1))) * _FRAME + _FRAME // 2
