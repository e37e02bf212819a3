"""The oracles themselves, on traces whose outcome is worked out by hand from docs/timeline.md."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import oracle_membership as membership
import pytest
from oracle_dispositions import disposition
from oracle_states import Expected
from oracle_streams import Declared, Trace

from stream.timeline.packets import (
    AudioChunk,
    Bound,
    EpochStart,
    Item,
    Modality,
    SpeechActivity,
    StreamEnd,
    StreamIdle,
    VideoFrame,
    Word,
)
from stream.timeline.settings import LineSettings, TimelineSettings, UtteranceSettings, WindowSettings
from stream.timeline.time import NS_PER_MS, NS_PER_SAMPLE, Span

MS = NS_PER_MS
AUDIO = Declared("audio", Modality.AUDIO)
ACTIVITY = Declared("activity", Modality.ACTIVITY, "audio")
VIDEO = Declared("video", Modality.VIDEO)
TEXT = Declared("text", Modality.TEXT)
POLICY = UtteranceSettings(
    pad_ns=50 * MS,
    shortest_ns=60 * MS,
    longest_ns=1000 * MS,
    hang_over_ns=150 * MS,
    cut_search_ns=300 * MS,
    silence_ns=500 * MS,
)
UTTERANCES = TimelineSettings(segmentation=POLICY, cadence_ns=200 * MS, text_lateness_ns=100 * MS, amend_ns=300 * MS)


def chunk(start: int, length: int, filled: bool = False, sequence: int = 0) -> AudioChunk:
    samples = np.zeros(length * MS // NS_PER_SAMPLE, np.int16)
    span = {"start_ns": start * MS, "end_ns": (start + length) * MS}
    return AudioChunk(stream="audio", sequence=sequence, samples=samples, first_sample=0, filled=filled, **span)


def frame(start: int, epoch: int = 0) -> VideoFrame:
    return VideoFrame(stream="video", epoch=epoch, sequence=start, start_ns=start * MS, end_ns=start * MS, image=None)


def word(start: int, end: int) -> Word:
    return Word(stream="text", sequence=start, start_ns=start * MS, end_ns=end * MS, text="so")


def step(start: int, probability: float, masked: bool = False) -> SpeechActivity:
    span = {"start_ns": start * MS, "end_ns": (start + 30) * MS}
    return SpeechActivity(stream="activity", sequence=start, probability=probability, masked=masked, **span)


def steps(first: int, last: int, probability: float) -> list[SpeechActivity]:
    return [step(start, probability) for start in range(first, last, 30)]


def bound(stream: str, at: int) -> Bound:
    return Bound(stream=stream, bound_ns=at * MS)


def every_10_ms(*items: Item) -> Trace:
    return [(item, (i + 1) * 10 * MS) for i, item in enumerate(items)]


def lane(expected: Expected) -> list[tuple[str, int, int, str]]:
    """Kind, start and end in milliseconds, reason."""
    return [(s.kind, s.start // MS, s.end // MS, s.reason) for s in expected.lane.closed]


def expect(streams: list[Declared], settings: TimelineSettings, trace: Trace) -> Expected:
    return Expected(streams, settings, trace, trace[-1][1] + 10_000 * MS)


def test_windows_close_when_the_reference_bound_reaches_their_end_and_are_cut_at_the_end_of_all() -> None:
    settings = TimelineSettings(segmentation=WindowSettings(length_ns=100 * MS, hop_ns=60 * MS))
    trace = every_10_ms(frame(0), bound("audio", 100), frame(100), frame(130))
    expected = expect([VIDEO, AUDIO], settings, trace)
    assert lane(expected) == [("window", 0, 100, "window"), ("window", 60, 130, "end"), ("window", 120, 130, "end")]
    assert [s.closed for s in expected.lane.closed] == [2, 5, 5]


def test_the_end_of_all_is_that_of_the_sources_whatever_derives_from_them() -> None:
    faces = Declared("faces", Modality.VIDEO, "video")
    ahead = VideoFrame(stream="faces", sequence=0, start_ns=256 * MS, end_ns=256 * MS, image=None)
    trace = every_10_ms(frame(0), frame(90), ahead, StreamEnd(stream="video", at_ns=100 * MS))
    expected = expect([VIDEO, faces], TimelineSettings(segmentation=WindowSettings(length_ns=80 * MS, hop_ns=80 * MS)), trace)
    assert lane(expected) == [("window", 0, 80, "window"), ("window", 80, 100, "end")]


def test_lines_are_made_disjoint_and_silence_lies_between() -> None:
    lines = (Span(300 * MS, 400 * MS), Span(100 * MS, 350 * MS), Span(120 * MS, 200 * MS))
    settings = TimelineSettings(segmentation=LineSettings(lines=lines, silence_ns=80 * MS))
    expected = expect([VIDEO], settings, every_10_ms(frame(0), frame(600)))
    assert lane(expected) == [
        ("silence", 0, 80, "window"),
        ("silence", 80, 100, "speech"),
        ("line", 100, 350, "line"),
        ("line", 350, 400, "line"),
        ("silence", 400, 480, "window"),
        ("silence", 480, 560, "window"),
        ("silence", 560, 600, "end"),
    ]


def test_an_utterance_has_its_pads_and_a_click_is_silence() -> None:
    # A click at 90 (30 ms, below the shortest), speech from 690 to 870, closed when the bound is at 870 + 150.
    trace = every_10_ms(step(90, 0.9), *steps(120, 690, 0.1), *steps(690, 870, 0.9), *steps(870, 1200, 0.1))
    expected = expect([AUDIO, ACTIVITY], UTTERANCES, trace)
    assert lane(expected)[:3] == [
        ("silence", 0, 500, "window"),
        ("silence", 500, 640, "speech"),
        ("utterance", 640, 920, "silence"),
    ]
    closing = trace[expected.lane.closed[2].closed][0]
    assert closing.end_ns == 1020 * MS
    assert expected.trace[expected.lane.closed[0].closed][0].end_ns == 570 * MS  # the frontier is a pad behind


def test_a_longest_utterance_is_cut_where_speech_is_least_likely() -> None:
    speech = steps(0, 900, 0.9)
    speech[25] = step(750, 0.6)
    trace = every_10_ms(*speech, *steps(900, 1200, 0.9))
    expected = expect([AUDIO, ACTIVITY], UTTERANCES, trace)
    first, second = expected.lane.closed[:2]
    assert (first.kind, first.start, first.end, first.reason) == ("utterance", 0, 750 * MS, "longest")
    assert trace[first.closed][0].end_ns == 960 * MS  # 960 + 50 > 1000
    assert (second.start, second.continues, second.reason) == (750 * MS, True, "end")


def test_an_idle_voice_detector_closes_the_utterance_and_video_drives() -> None:
    idle = StreamIdle(stream="audio", at_ns=120 * MS)
    trace = every_10_ms(*steps(0, 120, 0.9), idle, frame(100), frame(640), frame(700))
    expected = expect([VIDEO, AUDIO, ACTIVITY], UTTERANCES, trace)
    assert lane(expected)[:2] == [("utterance", 0, 120, "idle"), ("silence", 120, 620, "window")]


@pytest.mark.parametrize(("at", "hole"), [(400, [("hole", 120, 400, "reconnect")]), (100, [])])
def test_a_restart_closes_everything_and_leaves_a_hole(at: int, hole: list[tuple[str, int, int, str]]) -> None:
    restart = EpochStart(streams=("audio",), epoch=1, at_ns=at * MS)
    expected = expect([AUDIO, ACTIVITY], UTTERANCES, every_10_ms(*steps(0, 120, 0.9), restart))
    assert lane(expected) == [("utterance", 0, 120, "reconnect"), *hole]
    assert [s.epoch for s in expected.lane.closed] == [0, *[1] * len(hole)]


def test_a_restart_cuts_windows_and_the_grid_goes_on() -> None:
    settings = TimelineSettings(segmentation=WindowSettings(length_ns=100 * MS, hop_ns=100 * MS))
    restart = EpochStart(streams=("video",), epoch=1, at_ns=250 * MS)
    expected = expect([VIDEO], settings, every_10_ms(frame(0), frame(130), restart, frame(360, epoch=1)))
    assert lane(expected) == [
        ("window", 0, 100, "window"),
        ("window", 100, 130, "reconnect"),
        ("hole", 130, 250, "reconnect"),
        ("window", 250, 300, "window"),
        ("window", 300, 360, "end"),
    ]


def test_a_window_of_which_nothing_was_given_out_begins_anew_with_an_epoch_that_begins_behind_it() -> None:
    settings = TimelineSettings(segmentation=WindowSettings(length_ns=100 * MS, hop_ns=60 * MS), cadence_ns=80 * MS)
    restart = EpochStart(streams=("video",), epoch=1, at_ns=90 * MS)
    expected = expect([VIDEO], settings, every_10_ms(frame(0), frame(130), restart, frame(200, epoch=1)))
    assert lane(expected)[:3] == [
        ("window", 0, 100, "window"),
        ("window", 60, 100, "reconnect"),  # the one from 120 was open at 130, and is none of this epoch
        ("window", 100, 160, "window"),
    ]


@pytest.mark.parametrize(
    ("modality", "packet", "inside"),
    [
        (Modality.VIDEO, frame(100), True),
        (Modality.VIDEO, frame(200), False),
        (Modality.AUDIO, chunk(80, 20), False),
        (Modality.AUDIO, chunk(80, 21), True),
        (Modality.TEXT, word(50, 150), True),
        (Modality.TEXT, word(150, 250), False),
        (Modality.ACTIVITY, step(90, 0.9), False),
    ],
)
def test_membership_at_the_edges(modality: Modality, packet: Item, inside: bool) -> None:
    assert membership.belongs(modality, packet, 100 * MS, 200 * MS) is inside


def test_coverage() -> None:
    span = (100 * MS, 200 * MS)
    assert membership.coverage(Modality.VIDEO, [frame(110), frame(190)], *span, 20 * MS) == Fraction(60, 100)
    assert membership.coverage(Modality.AUDIO, [chunk(90, 30), chunk(120, 30, filled=True)], *span, MS) == Fraction(20, 100)
    assert membership.coverage(Modality.TEXT, [word(100, 140), word(120, 160)], *span, MS) == Fraction(60, 100)
    assert membership.coverage(Modality.ACTIVITY, [step(180, 0), step(150, 0, True)], *span, MS) == Fraction(20, 100)


def test_words_hold_a_final_until_their_lateness_and_then_amend_it() -> None:
    settings = TimelineSettings(
        segmentation=WindowSettings(length_ns=100 * MS, hop_ns=100 * MS),
        cadence_ns=40 * MS,
        text_lateness_ns=100 * MS,
        amend_ns=300 * MS,
    )
    trace = [
        (frame(0), 0),
        (frame(50), 50 * MS),
        (frame(130), 130 * MS),
        (word(20, 60), 240 * MS),
        (word(150, 190), 250 * MS),
        (frame(300), 300 * MS),
        (word(180, 240), 1000 * MS),
    ]
    expected = expect([VIDEO, TEXT], settings, trace)
    found = [(r.start_ns // MS, r.number, r.status, r.reason, r.decided_ns // MS) for _, r in expected.revisions()]
    assert found[:7] == [
        (0, 1, "provisional", "cadence", 50),
        (0, 3, "final", "window", 230),
        (0, 4, "amended", "words", 250),
        (100, 3, "final", "window", 400),
        (200, 3, "final", "window", 400),
        (100, 4, "amended", "time-out", 700),
        (200, 4, "amended", "time-out", 700),
    ]
    states = {(r.start_ns // MS, r.status): r.slices[1][1:3] for _, r in expected.revisions()}
    assert states[0, "provisional"] == states[0, "final"] == ("pending", None)
    assert states[0, "amended"] == states[100, "amended"] == ("present", None)
    assert states[200, "amended"] == ("absent", "nothing-there")
    last = len(expected.trace) - 1
    assert [disposition(expected, i, last) for i in range(7)] == ["used"] * 5 + ["unclaimed", "late"]
    assert disposition(expected, 1, 1) == "pending"
    assert [expected.next_deadline(i) for i in (1, 2, 3, 4)] == [None, 230 * MS, 530 * MS, None]


def test_each_packet_has_its_disposition() -> None:
    settings = TimelineSettings(segmentation=WindowSettings(length_ns=100 * MS, hop_ns=200 * MS))
    trace = every_10_ms(frame(-20), frame(50), frame(20), frame(150), frame(210), StreamEnd(stream="video", at_ns=210 * MS))
    expected = expect([VIDEO], settings, trace)
    found = [disposition(expected, i, len(trace) - 1) for i in range(5)]
    assert found == ["unclaimed", "used", "refused", "unclaimed", "unclaimed"]
