from __future__ import annotations

import av
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.sources.resampling import Resampler
from stream.timeline.packets import AudioChunk
from stream.timeline.time import NS_PER_MS, NS_PER_SAMPLE, NS_PER_SECOND

TOLERANCE_NS = 40 * NS_PER_MS


def frame(samples: np.ndarray, rate: int = 16_000) -> av.AudioFrame:
    made = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None], np.float32), format="fltp", layout="mono")
    made.sample_rate = rate
    return made


def joined(chunks: list[AudioChunk]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int16), *(chunk.samples for chunk in chunks)])


def ramp(first: int, count: int) -> np.ndarray:
    """Samples that tell their own number after rounding to int16."""
    return (np.arange(first, first + count) % 30_000) / 32_768


@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=12), st.sampled_from([16_000, 22_050, 44_100, 48_000]))
@settings(deadline=None, max_examples=40)
@example([2], 22_050)
def test_how_samples_are_cut_changes_nothing(cuts: list[int], rate: int) -> None:
    noise = np.random.default_rng(1).uniform(-0.9, 0.9, sum(cuts)).astype(np.float32)
    whole = Resampler("audio", TOLERANCE_NS)
    expected = joined(whole.take(frame(noise, rate), 0) + whole.flush())
    cut = Resampler("audio", TOLERANCE_NS)
    chunks, first = [], 0
    for size in cuts:
        chunks += cut.take(frame(noise[first : first + size], rate), first * NS_PER_SECOND // rate)
        first += size
    chunks += cut.flush()
    assert np.array_equal(joined(chunks), expected)
    assert abs(len(expected) - sum(cuts) * 16_000 / rate) <= 1
    assert cut.end_ns == len(expected) * NS_PER_SAMPLE


@given(st.lists(st.tuples(st.integers(1, 2_000), st.integers(-300, 300)), min_size=1, max_size=12))
@settings(deadline=None, max_examples=80)
def test_whatever_the_time_stamps_the_count_never_breaks_and_every_sample_is_accounted_for(
    parts: list[tuple[int, int]],
) -> None:
    resampler = Resampler("audio", TOLERANCE_NS)
    chunks: list[AudioChunk] = []
    at_ns = fed = 0
    for size, jitter_ms in parts:
        chunks += resampler.take(frame(ramp(fed, size)), at_ns)
        fed += size
        at_ns = max(0, at_ns + size * NS_PER_SAMPLE + jitter_ms * NS_PER_MS)
    chunks += resampler.flush()
    count = 0
    for chunk in chunks:
        assert chunk.first_sample == count
        assert chunk.start_ns == count * NS_PER_SAMPLE
        count += len(chunk.samples)
        assert not chunk.filled or not chunk.samples.any()
    filled = sum(len(chunk.samples) for chunk in chunks if chunk.filled)
    assert filled * NS_PER_SAMPLE == resampler.filled_ns
    assert count - filled + resampler.overlap_ns // NS_PER_SAMPLE == fed
    # What was given out is what came in: each sample still tells its number.
    heard = joined([chunk for chunk in chunks if not chunk.filled])
    assert np.all(np.isin(heard, np.round(ramp(0, fed) * 32_768)))


def test_what_lies_before_zero_is_trimmed_to_the_sample() -> None:
    resampler = Resampler("audio", TOLERANCE_NS)
    assert resampler.take(frame(ramp(0, 800)), -100 * NS_PER_MS) == []
    chunks = resampler.take(frame(ramp(800, 1600)), -50 * NS_PER_MS) + resampler.flush()
    assert np.array_equal(joined(chunks), np.arange(1600, 2400))
    assert chunks[0].start_ns == 0
    assert resampler.trimmed_ns == 100 * NS_PER_MS


def test_a_sample_between_two_instants_of_the_count_keeps_its_own_time() -> None:
    resampler = Resampler("audio", TOLERANCE_NS)
    chunks = resampler.take(frame(ramp(0, 160)), 12_345)
    assert chunks[0].start_ns == 12_345
    assert chunks[0].end_ns == 12_345 + 160 * NS_PER_SAMPLE


def test_without_time_stamps_samples_follow_each_other() -> None:
    resampler = Resampler("audio", TOLERANCE_NS)
    chunks = resampler.take(frame(ramp(0, 100)), None) + resampler.take(frame(ramp(100, 100)), None)
    assert np.array_equal(joined(chunks), np.arange(200))


def test_a_change_of_rate_goes_on_by_count() -> None:
    resampler = Resampler("audio", TOLERANCE_NS)
    chunks = resampler.take(frame(np.zeros(16_000)), 0) + resampler.take(frame(np.zeros(48_000), 48_000), NS_PER_SECOND)
    chunks += resampler.flush()
    assert resampler.end_ns == 2 * NS_PER_SECOND
    assert not any(chunk.filled for chunk in chunks)


def test_a_new_epoch_counts_anew_and_numbers_on() -> None:
    resampler = Resampler("audio", TOLERANCE_NS)
    before = resampler.take(frame(ramp(0, 100)), 0) + resampler.flush()
    resampler.start_epoch(3, 50 * NS_PER_SECOND)
    after = resampler.take(frame(ramp(0, 100)), 50 * NS_PER_SECOND)
    assert (after[0].epoch, after[0].first_sample, after[0].sequence) == (3, 0, before[-1].sequence + 1)
    assert after[0].start_ns == 50 * NS_PER_SECOND


def test_hours_of_a_gap_take_no_memory() -> None:
    resampler = Resampler("audio", TOLERANCE_NS)
    resampler.take(frame(ramp(0, 100)), 0)
    chunks = resampler.take(frame(ramp(0, 100)), 3600 * NS_PER_SECOND)
    filled = [chunk for chunk in chunks if chunk.filled]
    assert len(filled) == 3600
    assert len({chunk.samples.__array_interface__["data"][0] for chunk in filled}) == 1


def test_scattered_samples_that_are_no_numbers_mask_from_the_first_to_the_last_of_a_frame() -> None:
    resampler = Resampler("audio", TOLERANCE_NS)
    samples = ramp(0, 1000)
    samples[[200, 300]] = np.nan, -np.inf
    chunks = resampler.take(frame(samples), 0) + resampler.flush()
    assert [(chunk.first_sample, len(chunk.samples)) for chunk in chunks if chunk.filled] == [(200, 101)]
    assert resampler.not_sound == 2
    assert np.array_equal(joined(chunks)[301:], np.arange(301, 1000))


def test_loud_but_finite_samples_are_clipped_and_not_masked() -> None:
    resampler = Resampler("audio", TOLERANCE_NS)
    chunks = resampler.take(frame(np.full(100, 60_000.0)), 0) + resampler.flush()
    assert not any(chunk.filled for chunk in chunks)
    assert joined(chunks).tolist() == [32_767] * 100


def test_samples_beyond_what_the_conversion_holds_are_masked() -> None:
    resampler = Resampler("audio", TOLERANCE_NS)
    chunks = resampler.take(frame(np.full(100, 3e38)), 0) + resampler.flush()
    assert [(len(chunk.samples), chunk.filled) for chunk in chunks] == [(100, True)]
