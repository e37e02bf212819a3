from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from operators.transcription.limits import TranscriberSettings


@given(length=st.integers(0, 5_000), longest=st.integers(1_000, 2_000), seed=st.integers(0, 99))
def test_pieces_tile_the_samples_and_none_is_too_long(length: int, longest: int, seed: int) -> None:
    samples = np.random.default_rng(seed).integers(-100, 100, length, np.int16)
    pieces = list(TranscriberSettings(longest_samples=longest).pieces(samples))
    assert [first for first, _ in pieces] == [0, *(last for _, last in pieces[:-1])]
    assert pieces[-1][1] == length
    assert all(last - first <= longest for first, last in pieces)


def test_the_cut_is_in_the_pause() -> None:
    samples = np.full(30_000, 5_000, np.int16)
    samples[9_000:9_400] = 3
    (first, cut), *_ = TranscriberSettings(longest_samples=10_000).pieces(samples)
    assert first == 0
    assert 9_000 <= cut <= 9_400


def test_tokens_are_bounded_by_the_time_spoken() -> None:
    settings = TranscriberSettings(tokens_per_second=4.0)
    assert [settings.most_tokens(n) for n in (4_000, 16_000, 160_000)] == [1, 4, 40]
