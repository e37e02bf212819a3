from __future__ import annotations

import numpy as np
import pytest

from operators.encoders.speech import STATE_DIM, SpeechEncoder, state_count


@pytest.mark.parametrize("sample_count", [0, 1, 894, 895, 896, 1_278, 1_279, 16_000, 50_001])
def test_states_are_as_many_as_declared(speech_encoder: SpeechEncoder, beckett: np.ndarray, sample_count: int) -> None:
    states = speech_encoder.encode(beckett[:sample_count], 7)
    assert states.states.shape == (state_count(sample_count), STATE_DIM)
    assert states.states.dtype == np.float32
    assert np.isfinite(states.states).all()
    assert (states.start_ns, states.step_ns) == (7, 24_000_000)


def test_states_are_a_function_of_the_samples(speech_encoder: SpeechEncoder, beckett: np.ndarray) -> None:
    first = speech_encoder.encode(beckett[:40_000], 0).states
    other = speech_encoder.encode(beckett[40_000:90_000], 0).states
    again = speech_encoder.encode(beckett[:40_000].copy(), 0).states
    assert np.array_equal(first, again)
    assert not np.array_equal(first[:100], other[:100])


def test_a_state_lies_where_its_sound_is(speech_encoder: SpeechEncoder, beckett: np.ndarray) -> None:
    samples = beckett[:48_000]
    altered = samples.copy()
    altered[24_000:] = 0
    change = np.abs(speech_encoder.encode(samples, 0).states - speech_encoder.encode(altered, 0).states).mean(axis=1)
    half = len(change) // 2
    assert change[half + 5 :].mean() > 2 * change[: half - 5].mean()
