from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scene import ACTIVITY, AUDIO, VIDEO, WORDS, Scene, chunk, frame, ns, sequences, step, windows, word

from stream.timeline.membership import Retained, audio_samples, coverage, extent
from stream.timeline.packets import AudioChunk, Modality, Packet
from stream.timeline.time import NS_PER_SAMPLE, Span


def members(*packets: Packet, stream: str, declared: tuple = (VIDEO, AUDIO, ACTIVITY, WORDS)) -> list[int]:
    """What the window [1000, 2000) holds of the packets."""
    scene = Scene(*declared, segmentation=windows(1000))
    scene.push(*packets)
    scene.bound(3000, "video")
    scene.close()
    index = next(i for i, r in enumerate(scene.revisions) if r.status == "final" and r.start_ns == ns(1000))
    return sequences(scene.slice(stream, index).packets)


def test_a_frame_belongs_where_its_instant_lies() -> None:
    assert members(frame(999), frame(1000), frame(1999), frame(2000), stream="video") == [1000, 1999]


def test_a_word_belongs_where_its_midpoint_lies() -> None:
    words = [word(0, 1999), word(600, 1400), word(1500, 2499), word(1501, 2500)]
    assert members(*words, stream="words") == [600, 1500]


def test_words_are_given_in_order_of_start() -> None:
    assert members(word(100, 3000), word(1100, 1200), word(1150, 1160), stream="words") == [100, 1100, 1150]


def test_a_chunk_belongs_wherever_it_reaches() -> None:
    chunks = [chunk(900, 1000), chunk(980, 1001), chunk(1500, 1600), chunk(1999, 2100), chunk(2000, 2100)]
    assert members(*chunks, stream="audio") == [980, 1500, 1999]


def test_a_step_of_activity_belongs_where_it_starts() -> None:
    steps = [step(990, 1022, 0.1), step(1022, 1054, 0.1), step(1999, 2031, 0.1), step(2031, 2063, 0.1)]
    assert members(*steps, stream="activity") == [1022, 1999]


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(Modality),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30)), max_size=25),
    st.integers(-5, 45),
    st.integers(1, 20),
    st.integers(0, 30),
)
def test_what_is_retained_finds_every_member(
    modality: Modality, spans: list[tuple[int, int]], start: int, length: int, released: int
) -> None:
    retained = Retained(modality)
    packets = [
        Packet(stream="s", sequence=i, start_ns=a, end_ns=a + (n or int(modality is Modality.AUDIO)))
        for i, (a, n) in enumerate(sorted(spans, key=lambda s: s[0]))
    ]
    for packet in packets:
        retained.take(packet, used=False)
    retained.release(min(start, released))
    span = Span(start, start + length)
    expected = [p for p in packets if max(extent(p, modality)[0], start) < min(extent(p, modality)[1], start + length)]
    assert list(retained.members(span)) == expected
    assert retained.use(span) == expected
    assert retained.use(span) == []
    assert not set(retained.discard(lambda *_: True)) & set(expected)
    assert list(retained.members(Span(-100, 100))) == expected


def covers(packets: list[Packet], modality: Modality, start: float, end: float, max_gap: float = 500) -> float:
    return coverage(packets, modality, Span(ns(start), ns(end)), ns(max_gap))


def test_a_frame_covers_what_is_nearer_than_the_gap() -> None:
    assert covers([frame(1000)], Modality.VIDEO, 0, 4000) == 0.25
    assert covers([frame(0)], Modality.VIDEO, 0, 4000) == 0.125
    assert covers([frame(0), frame(800), frame(3900)], Modality.VIDEO, 0, 4000) == (1300 + 600) / 4000


def test_sound_and_words_cover_themselves_once() -> None:
    assert covers([chunk(-50, 100), chunk(300, 400), chunk(350, 360), chunk(380, 500)], Modality.AUDIO, 0, 1000) == 0.3
    assert covers([word(900, 1500)], Modality.TEXT, 0, 1000) == 0.1
    assert covers([], Modality.TEXT, 0, 1000) == 0.0


def test_filled_sound_and_masked_steps_are_given_but_neither_present_nor_cover() -> None:
    scene = Scene(AUDIO, ACTIVITY, segmentation=windows(1000))
    scene.push(chunk(0, 1000, filled=True), step(0, 500, 0.9, masked=True), step(500, 1000, 0.9))
    scene.end(1000, "audio", "activity")
    audio, activity = scene.slice("audio"), scene.slice("activity")
    assert (audio.state, audio.absence, audio.coverage, sequences(audio.packets)) == ("absent", "ended", 0.0, [0])
    assert (activity.state, activity.absence, activity.coverage) == ("present", None, 0.5)


def test_absence_has_its_reason() -> None:
    scene = Scene(VIDEO, AUDIO, WORDS, segmentation=windows(1000), cadence=100)
    scene.idle("video")
    scene.bound(150, "audio")
    reasons = {s.stream: (s.state, s.absence) for s in scene.revisions[-1].slices}
    assert reasons == {"video": ("absent", "idle"), "audio": ("absent", "nothing-there"), "words": ("pending", None)}


def test_a_stream_that_has_not_started_is_not_started() -> None:
    scene = Scene(VIDEO, AUDIO, segmentation=windows(1000), cadence=100)
    scene.idle("audio")
    scene.bound(150, "video")
    scene.active("audio")
    assert scene.slice("audio").absence == "idle"
    scene = Scene(VIDEO, AUDIO, ACTIVITY, segmentation=windows(1000), cadence=100)
    scene.bound(150, "video", "audio")
    assert scene.slice("activity").absence == "not-started"


def samples_of(*chunks: AudioChunk, start_ns: int, end_ns: int) -> tuple[list[int], list[bool]]:
    samples, heard = audio_samples(chunks, Span(start_ns, end_ns))
    assert samples.dtype == np.int16
    return samples.tolist(), heard.tolist()


def counting(first: int, n: int, *, start_ns: int, filled: bool = False) -> AudioChunk:
    return AudioChunk(
        stream="audio",
        sequence=first,
        start_ns=start_ns,
        end_ns=start_ns + n * NS_PER_SAMPLE,
        samples=np.arange(first, first + n, dtype=np.int16),
        first_sample=first,
        filled=filled,
    )


def test_sound_is_sliced_by_sample() -> None:
    chunks = [counting(0, 10, start_ns=0), counting(10, 10, start_ns=10 * NS_PER_SAMPLE)]
    samples, heard = samples_of(*chunks, start_ns=8 * NS_PER_SAMPLE, end_ns=12 * NS_PER_SAMPLE)
    assert (samples, heard) == ([8, 9, 10, 11], [True] * 4)


@pytest.mark.parametrize("offset_ns", [1, 31_250, NS_PER_SAMPLE - 1])
def test_sound_off_the_grid_stays_contiguous(offset_ns: int) -> None:
    chunks = [counting(10 * i, 10, start_ns=offset_ns + 10 * i * NS_PER_SAMPLE) for i in range(3)]
    samples, heard = samples_of(*chunks, start_ns=5 * NS_PER_SAMPLE, end_ns=25 * NS_PER_SAMPLE)
    assert (samples, heard) == (list(range(5, 25)), [True] * 20)


def test_where_no_sound_is_there_are_zeros_and_a_mask() -> None:
    chunks = [counting(2, 1, start_ns=2 * NS_PER_SAMPLE), counting(4, 2, start_ns=4 * NS_PER_SAMPLE, filled=True)]
    samples, heard = samples_of(*chunks, start_ns=0, end_ns=5 * NS_PER_SAMPLE + 1)
    assert (samples, heard) == ([0, 0, 2, 0, 4, 5], [False, False, True, False, False, False])


def test_neighbours_share_no_sample_and_lose_none() -> None:
    sound = [counting(0, 100, start_ns=0)]
    cut_ns = 40 * NS_PER_SAMPLE + 17
    before, _ = samples_of(*sound, start_ns=0, end_ns=cut_ns)
    after, _ = samples_of(*sound, start_ns=cut_ns, end_ns=100 * NS_PER_SAMPLE)
    assert before + after[: 100 - len(before)] == list(range(100))
