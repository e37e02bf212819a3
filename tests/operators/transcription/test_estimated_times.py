from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from operators.transcription.estimated_times import spread_words
from stream.timeline.time import NS_PER_MS, NS_PER_SAMPLE


@given(
    words=st.lists(st.text("abc", min_size=1, max_size=9), max_size=30),
    parts=st.lists(st.tuples(st.integers(1, 3_000), st.sampled_from([0, 10, 9_000])), min_size=1, max_size=8),
    start_ns=st.integers(0, 10**12),
)
def test_spans_are_in_order_disjoint_and_inside(words: list[str], parts: list[tuple[int, int]], start_ns: int) -> None:
    samples = np.concatenate([np.full(length, level, np.int16) for length, level in parts])
    spans = spread_words(words, samples, start_ns)
    edges = [edge for span in spans for edge in span]
    assert len(spans) == len(words)
    assert edges == sorted(edges)
    assert all(start_ns <= edge <= start_ns + len(samples) * NS_PER_SAMPLE for edge in edges)


def test_words_lie_where_sound_is_and_in_proportion_to_their_letters() -> None:
    loud, quiet = np.full(16_000, 8_000, np.int16), np.zeros(8_000, np.int16)
    spans = spread_words(["aaaa", "bbbb", "cccccccc"], np.concatenate([quiet, loud, quiet, loud, quiet]), 0)
    near = [(round(span.start_ns / NS_PER_MS, -1), round(span.end_ns / NS_PER_MS, -1)) for span in spans]
    assert near == [(500, 1000), (1000, 1500), (2000, 3000)]
