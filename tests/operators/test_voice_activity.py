from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.voice_activity import SileroNetwork, VoiceActivityOperator
from stream.errors import OperatorError
from stream.timeline.packets import AudioChunk, Bound, SpeechActivity, StreamEnd, VideoFrame, packets_equal
from stream.timeline.time import ACTIVITY_STEP_NS, ACTIVITY_STEP_SAMPLES, NS_PER_SAMPLE


def chunk(samples: np.ndarray, first: int, *, filled: bool = False, origin_ns: int = 0, epoch: int = 0) -> AudioChunk:
    return AudioChunk(
        stream="audio",
        epoch=epoch,
        sequence=first,
        start_ns=origin_ns + first * NS_PER_SAMPLE,
        end_ns=origin_ns + (first + len(samples)) * NS_PER_SAMPLE,
        samples=samples,
        first_sample=first,
        filled=filled,
    )


def run(network: SileroNetwork, chunks: Sequence[AudioChunk]) -> tuple[list[SpeechActivity], list[int]]:
    operator = VoiceActivityOperator(network)
    given_out = [item for packet in chunks for item in operator.process(packet)]
    given_out += operator.finish(chunks[-1].end_ns)
    assert given_out.pop() == StreamEnd(stream="activity", at_ns=chunks[-1].end_ns)
    last_bound_ns = -1
    for item in given_out:
        if isinstance(item, Bound):
            assert item.bound_ns >= last_bound_ns
            last_bound_ns = item.bound_ns
        else:
            assert isinstance(item, SpeechActivity)
            assert item.start_ns >= last_bound_ns, "a step behind a bound that was promised"
    steps = [item for item in given_out if isinstance(item, SpeechActivity)]
    return steps, [item.bound_ns for item in given_out if isinstance(item, Bound)]


def cut(samples: np.ndarray, sizes: Sequence[int]) -> list[AudioChunk]:
    edges = [0, *(edge for edge in np.cumsum(sizes) if edge < len(samples)), len(samples)]
    return [chunk(samples[a:b], int(a)) for a, b in pairwise(edges)]


@settings(deadline=None, max_examples=12)
@given(sizes=st.lists(st.integers(1, 9_000), min_size=1, max_size=60))
def test_steps_are_identical_for_any_chunking(silero: SileroNetwork, beckett: np.ndarray, sizes: list[int]) -> None:
    samples = beckett[16_000:36_001]
    whole, _ = run(silero, [chunk(samples, 0)])
    parts, _ = run(silero, cut(samples, sizes))
    assert max(step.probability for step in whole) > 0.9
    assert len(whole) == len(parts) == -(-len(samples) // ACTIVITY_STEP_SAMPLES)
    assert all(map(packets_equal, whole, parts))


def test_the_grid_is_of_512_samples_from_the_first_and_the_rest_ends_where_the_audio_ends(
    silero: SileroNetwork, beckett: np.ndarray
) -> None:
    origin_ns = 123_456_789
    steps, bounds_ns = run(
        silero, [chunk(beckett[:700], 0, origin_ns=origin_ns), chunk(beckett[700:1_300], 700, origin_ns=origin_ns)]
    )
    assert [(step.start_ns - origin_ns, step.end_ns - origin_ns) for step in steps] == [
        (0, ACTIVITY_STEP_NS),
        (ACTIVITY_STEP_NS, 2 * ACTIVITY_STEP_NS),
        (2 * ACTIVITY_STEP_NS, 1_300 * NS_PER_SAMPLE),
    ]
    assert [step.sequence for step in steps] == [0, 1, 2]
    assert [bound - origin_ns for bound in bounds_ns] == [ACTIVITY_STEP_NS, 2 * ACTIVITY_STEP_NS, 1_300 * NS_PER_SAMPLE]
    assert not any(step.masked for step in steps)


def test_nobody_speaks_in_sounds_without_speech(
    activity_of: Callable[[np.ndarray], list[SpeechActivity]], without_speech: np.ndarray
) -> None:
    assert max(step.probability for step in activity_of(without_speech)) < 0.5


def test_words_are_heard_and_pauses_are_not(
    activity_of: Callable[[np.ndarray], list[SpeechActivity]],
    load_audio: Callable[[Path], np.ndarray],
    shared_data: Path,
) -> None:
    heard, spoken = [], []
    for path in sorted((shared_data / "speech" / "librivox").glob("*.json")):
        words = [word for word in json.loads(path.read_text())["w"] if not word["t"].startswith("<")]
        for step in activity_of(load_audio(path.with_suffix(".wav"))):
            middle = (step.start_ns + step.end_ns) / 2e9
            heard.append(step.probability >= 0.5)
            spoken.append(any(word["b"] <= middle < word["b"] + word["d"] for word in words))
    both = np.logical_and(heard, spoken).sum()
    recall, precision = both / np.sum(spoken), both / np.sum(heard)
    assert recall >= 0.86, f"recall {recall:.3f}, precision {precision:.3f}"
    assert precision >= 0.86, f"recall {recall:.3f}, precision {precision:.3f}"


def test_filled_samples_mask_their_steps_and_leave_the_state_of_silence(silero: SileroNetwork, beckett: np.ndarray) -> None:
    before, after = beckett[16_000:26_000], beckett[40_000:56_000]
    gap = np.zeros(3_000, np.int16)
    silent, _ = run(silero, [chunk(np.concatenate([before, gap, after]), 0)])
    # What a filled chunk holds is not heard, whatever it is.
    filled, _ = run(silero, [chunk(before, 0), chunk(gap + 9_999, 10_000, filled=True), chunk(after, 13_000)])
    masked = [end > 10_000 and start < 13_000 for start, end in ((i * 512, i * 512 + 512) for i in range(len(filled)))]
    assert [step.masked for step in filled] == masked
    assert all(step.probability == 0.0 for step in filled if step.masked)
    assert all(packets_equal(a, b) for a, b, m in zip(filled, silent, masked, strict=True) if not m)


def test_missing_samples_count_as_filled(silero: SileroNetwork, beckett: np.ndarray) -> None:
    before, after = chunk(beckett[:5_000], 0), chunk(beckett[9_000:20_000], 9_000)
    missing, _ = run(silero, [before, after])
    filled, _ = run(silero, [before, chunk(np.zeros(4_000, np.int16), 5_000, filled=True), after])
    assert any(step.masked for step in missing)
    assert all(map(packets_equal, missing, filled))


def test_a_bare_bound_is_followed_a_step_behind_and_never_broken(silero: SileroNetwork, beckett: np.ndarray) -> None:
    operator = VoiceActivityOperator(silero)
    list(operator.process(chunk(beckett[:700], 0)))
    # The second step holds 188 samples and may still be completed.
    assert list(operator.bound(60_000_000)) == [Bound(stream="activity", bound_ns=ACTIVITY_STEP_NS)]
    step, bound = operator.bound(1_000_000_000)
    assert isinstance(step, SpeechActivity)
    assert step.masked
    assert bound == Bound(stream="activity", bound_ns=1_000_000_000 - ACTIVITY_STEP_NS)
    resumed = list(operator.process(chunk(beckett[16_000:18_000], 16_000)))
    steps = [item for item in resumed if isinstance(item, SpeechActivity)]
    assert steps
    assert all(item.start_ns >= 1_000_000_000 - ACTIVITY_STEP_NS for item in steps)
    assert [item.sequence for item in steps] == list(range(2, 2 + len(steps)))


@pytest.mark.parametrize("rate", [1 - 200e-6, 1 + 200e-6])
@pytest.mark.parametrize("size", [320, ACTIVITY_STEP_SAMPLES])
def test_chunks_of_a_drifting_clock_lose_no_step(silero: SileroNetwork, beckett: np.ndarray, rate: float, size: int) -> None:
    straight = cut(beckett, [size] * (len(beckett) // size))
    drifting = [msgspec.structs.replace(c, start_ns=round(c.start_ns * rate), end_ns=round(c.end_ns * rate)) for c in straight]
    steps, _ = run(silero, drifting)
    expected, _ = run(silero, straight)
    assert [step.probability for step in steps] == [step.probability for step in expected]


def test_chunks_that_overlap_where_their_clock_is_unsure_give_steps_in_order(
    silero: SileroNetwork, beckett: np.ndarray
) -> None:
    operator = VoiceActivityOperator(silero)
    early = [
        msgspec.structs.replace(c, start_ns=0, end_ns=k * 4_000_000) for k, c in enumerate(cut(beckett[:7_000], [700] * 10))
    ]
    given_out = [item for packet in early for item in operator.process(packet)]
    steps = [item for item in given_out if isinstance(item, SpeechActivity)]
    assert steps
    assert all(step.start_ns <= step.end_ns for step in steps)
    assert [step.start_ns for step in steps] == sorted(step.start_ns for step in steps)


def test_a_new_epoch_begins_a_grid_and_a_state_of_its_own(silero: SileroNetwork, beckett: np.ndarray) -> None:
    operator = VoiceActivityOperator(silero)
    list(operator.process(chunk(beckett[:20_300], 0)))
    [rest] = operator.reset(1, 2_000_000_000)
    assert isinstance(rest, SpeechActivity)
    assert (rest.epoch, rest.start_ns, rest.end_ns) == (0, 39 * ACTIVITY_STEP_NS, 20_300 * NS_PER_SAMPLE)
    again = list(operator.process(chunk(beckett[16_000:26_000], 0, origin_ns=2_000_000_000, epoch=1)))
    alone, _ = run(silero, [chunk(beckett[16_000:26_000], 0)])
    steps = [item for item in again if isinstance(item, SpeechActivity)]
    assert steps[0].start_ns == 2_000_000_000
    assert {step.epoch for step in steps} == {1}
    assert [step.probability for step in steps] == [step.probability for step in alone[: len(steps)]]


def test_samples_that_go_back_are_refused_with_their_number(silero: SileroNetwork) -> None:
    operator = VoiceActivityOperator(silero)
    list(operator.process(chunk(np.zeros(1_000, np.int16), 0)))
    with pytest.raises(OperatorError, match="sample 900, expected 1000 or later"):
        list(operator.process(chunk(np.zeros(1_000, np.int16), 900)))


def test_another_modality_is_refused(silero: SileroNetwork) -> None:
    frame = VideoFrame(stream="video", sequence=0, start_ns=0, end_ns=0, image=None)  # type: ignore[arg-type]
    with pytest.raises(OperatorError, match="found VideoFrame, expected AudioChunk"):
        list(VoiceActivityOperator(silero).process(frame))
