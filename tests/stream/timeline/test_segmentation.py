from __future__ import annotations

import pytest
from scene import ACTIVITY, AUDIO, VIDEO, WORDS, Scene, chunk, frame, lines, utterances, windows

from stream.timeline.schedule import Windows, disjoint
from stream.timeline.settings import WindowSettings
from stream.timeline.time import Span
from stream.timeline.watermark import Watermarks


def speech_scene(**ms: float) -> Scene:
    """Video far ahead, so that voice activity alone decides; no provisionals."""
    scene = Scene(VIDEO, AUDIO, ACTIVITY, segmentation=utterances(**ms), cadence=1_000_000)
    scene.bound(100_000, "video", "audio")
    return scene


# Windows


def test_a_window_closes_when_the_reference_bound_reaches_its_end() -> None:
    scene = Scene(VIDEO, AUDIO, segmentation=windows(1000))
    scene.bound(1500, "video")
    scene.bound(999, "audio")
    assert scene.finals() == []
    scene.bound(1000, "audio")
    assert scene.finals() == [("window", 0, 1000, "window")]


def test_windows_overlap_where_the_hop_is_shorter() -> None:
    scene = Scene(VIDEO, segmentation=windows(1000, hop=400))
    scene.bound(1800, "video")
    assert [(start, end) for _, start, end, _ in scene.finals()] == [(0, 1000), (400, 1400), (800, 1800)]


def test_at_the_end_every_window_that_has_begun_is_cut() -> None:
    scene = Scene(VIDEO, segmentation=windows(1000, hop=400))
    scene.end(1000, "video")
    assert scene.finals() == [("window", 0, 1000, "window"), ("window", 400, 1000, "end"), ("window", 800, 1000, "end")]


def test_a_window_does_not_begin_at_the_very_end() -> None:
    scene = Scene(VIDEO, segmentation=windows(1000))
    scene.end(2000, "video")
    assert [(start, end) for _, start, end, _ in scene.finals()] == [(0, 1000), (1000, 2000)]


@pytest.mark.parametrize("hop", [1, 3, 4, 7])
def test_the_claims_of_windows_are_those_of_the_windows_themselves(hop: int) -> None:
    length, reference = 4, 23
    lane, marks = Windows(WindowSettings(length_ns=length, hop_ns=hop)), Watermarks([VIDEO])
    marks.raise_bound(marks.stream("video"), reference)
    lane.advance(marks)
    spans = [(k * hop, k * hop + length) for k in range(40)]
    for start in range(-2, 40):
        for end in range(start, 41):
            held = [z for a, z in spans if max(start, a) < min(end, z)]
            assert lane.claims(start, end) == any(z > reference for z in held)
            assert lane.claimed(start, end) == any(z <= reference for z in held)


# Lines


def test_lines_with_silence_between_them() -> None:
    scene = Scene(VIDEO, segmentation=lines((1000, 1800), (4500, 5000)))
    scene.bound(7500, "video")
    assert scene.finals() == [
        ("silence", 0, 1000, "speech"),
        ("line", 1000, 1800, "line"),
        ("silence", 1800, 3800, "window"),
        ("silence", 3800, 4500, "speech"),
        ("line", 4500, 5000, "line"),
        ("silence", 5000, 7000, "window"),
    ]
    scene.end(7500, "video")
    assert scene.finals()[-1] == ("silence", 7000, 7500, "end")


def test_a_full_silence_window_before_a_line_is_a_window() -> None:
    scene = Scene(VIDEO, segmentation=lines((2000, 3000)))
    scene.bound(2000, "video")
    assert scene.finals() == [("silence", 0, 2000, "window")]


def test_the_line_that_holds_the_end_is_cut_and_what_follows_does_not_exist() -> None:
    scene = Scene(VIDEO, segmentation=lines((0, 1000), (1000, 2000)))
    scene.end(600, "video")
    assert scene.finals() == [("line", 0, 600, "end")]


def test_lines_are_made_disjoint() -> None:
    given = [Span(5, 9), Span(-3, 2), Span(1, 6), Span(2, 4), Span(3, 3)]
    assert disjoint(given) == [Span(0, 2), Span(2, 6), Span(6, 9)]


def test_lines_need_only_words_to_drive_them_where_nothing_else_is_declared() -> None:
    scene = Scene(WORDS, segmentation=lines((0, 1000)))
    scene.bound(1000, "words")
    assert scene.finals() == [("line", 0, 1000, "line")]


# Utterances


def test_an_utterance_has_its_pads_and_the_hang_over_is_not_inside() -> None:
    scene = speech_scene()
    scene.hears("..........####......")
    assert scene.finals() == [("silence", 0, 800, "speech")]
    scene.hears(".", start=2000)
    assert scene.finals()[-1] == ("utterance", 800, 1600, "silence")


def test_nothing_of_an_utterance_is_known_before_the_shortest_is_confirmed() -> None:
    scene = speech_scene(shortest=300)
    scene.hears("....##")
    assert scene.finals() == []
    scene.hears("#", start=600)
    assert scene.finals() == [("silence", 0, 200, "speech")]


def test_a_click_is_dropped_and_silence_goes_on_as_if_it_had_not_been() -> None:
    scene = speech_scene()
    scene.hears("....##.................." + "." * 20)
    assert scene.finals() == [("silence", 0, 2000, "window"), ("silence", 2000, 4000, "window")]


def test_the_silence_frontier_stops_at_undecided_speech_less_the_pad() -> None:
    scene = speech_scene(shortest=1000, pad=200, silence=1000)
    scene.hears("." * 11 + "#" + "." * 6)
    assert scene.finals() == []
    scene.hears(".", start=1800)
    assert scene.finals() == [("silence", 0, 1000, "window")]


def test_pads_are_clipped_at_the_end_before() -> None:
    scene = speech_scene(hang_over=200, pad=200)
    scene.hears("###..###..")
    assert scene.finals() == [("utterance", 0, 500, "silence"), ("utterance", 500, 1000, "silence")]


def test_speech_from_the_very_start_leaves_no_silence_before_it() -> None:
    scene = speech_scene()
    scene.hears("####.......")
    assert scene.finals() == [("utterance", 0, 600, "silence")]


def test_over_the_longest_it_is_cut_at_the_least_probable_step_of_late_and_continues() -> None:
    scene = speech_scene(longest=2000, cut_search=600, pad=100)
    scene.hears("##5#########" + "##9867##")
    assert scene.finals() == [("utterance", 0, 1600, "longest")]
    scene.close()
    cut, rest = [r for r in scene.revisions if r.kind == "utterance"]
    assert (cut.continues, rest.continues) == (False, True)
    assert rest.span.start_ns == cut.span.end_ns


def test_a_masked_step_counts_as_no_speech_and_is_the_first_choice_for_a_cut() -> None:
    scene = speech_scene(longest=1000, cut_search=600, pad=100)
    scene.hears("######-###")
    assert scene.finals() == [("utterance", 0, 600, "longest")]


def test_ties_are_cut_at_the_earliest_step() -> None:
    scene = speech_scene(longest=1000, cut_search=500, pad=100)
    scene.hears("##########")
    assert scene.finals() == [("utterance", 0, 500, "longest")]


def test_idle_audio_closes_the_utterance_and_the_reference_bound_goes_on() -> None:
    scene = Scene(VIDEO, AUDIO, ACTIVITY, segmentation=utterances(silence=1000), cadence=1_000_000)
    scene.bound(400, "audio")
    scene.hears("####")
    scene.bound(2500, "video")
    scene.idle("audio")
    assert scene.finals() == [
        ("utterance", 0, 400, "idle"),
        ("silence", 400, 1400, "window"),
        ("silence", 1400, 2400, "window"),
    ]


def test_idle_audio_drops_a_candidate() -> None:
    scene = Scene(VIDEO, AUDIO, ACTIVITY, segmentation=utterances(silence=1000, shortest=500))
    scene.hears("####")
    scene.bound(1000, "video")
    scene.idle("audio")
    assert scene.finals() == [("silence", 0, 1000, "window")]


def test_audio_that_is_back_drives_again_and_what_was_silence_stays_silence() -> None:
    scene = Scene(VIDEO, AUDIO, ACTIVITY, segmentation=utterances(silence=1000, shortest=200), cadence=1_000_000)
    scene.idle("audio")
    scene.bound(1500, "video")
    scene.active("audio")
    scene.bound(4000, "video", "audio")
    scene.hears("#" * 20, start=1000)
    scene.hears("." * 8, start=3000)
    assert scene.finals() == [
        ("silence", 0, 1000, "window"),
        ("silence", 1000, 1500, "speech"),
        ("utterance", 1500, 3200, "silence"),
    ]


def test_without_audio_there_are_windows_of_silence() -> None:
    scene = Scene(VIDEO, segmentation=utterances())
    scene.end(3000, "video")
    assert scene.finals() == [("silence", 0, 2000, "window"), ("silence", 2000, 3000, "end")]


def test_an_end_of_the_voice_detector_closes_the_utterance_and_the_lane_goes_on_to_the_end_of_all() -> None:
    scene = Scene(VIDEO, AUDIO, ACTIVITY, segmentation=utterances())
    scene.bound(900, "video", "audio")
    scene.hears("#########")
    scene.end(900, "audio", "activity")
    assert scene.finals() == [("utterance", 0, 900, "end")]
    scene.end(1200, "video")
    assert scene.finals()[-1] == ("silence", 900, 1200, "end")


def test_a_source_that_ends_before_its_voice_detector_leaves_it_driving() -> None:
    scene = Scene(AUDIO, ACTIVITY, segmentation=utterances())
    scene.end(1000, "audio")
    assert scene.finals() == []
    scene.hears("##########")
    scene.end(1000, "activity")
    assert scene.finals() == [("utterance", 0, 1000, "end")]


# A new source epoch


def test_a_reconnect_closes_the_utterance_and_leaves_a_hole() -> None:
    scene = speech_scene()
    scene.hears("." * 10 + "#" * 10)
    given = scene.epoch(1, 5000, "audio")
    assert [(g.kind, g.start, g.end, g.number, g.reason) for g in given] == [
        ("utterance", 800, 2000, 1, "reconnect"),
        ("hole", 2000, 5000, 0, "reconnect"),
    ]
    scene.hears("####.......", start=5000, epoch=1)
    assert scene.finals()[-1] == ("utterance", 5000, 5600, "silence")
    assert [r.source_epoch for r in scene.revisions if r.status == "final"] == [0, 0, 1, 1]


def test_a_reconnect_windows_the_silence_and_drops_the_candidate() -> None:
    scene = speech_scene(shortest=500, silence=1000)
    scene.hears("." * 11 + "##")
    assert scene.finals() == []
    scene.epoch(1, 1300, "audio")
    assert scene.finals() == [("silence", 0, 1000, "reconnect"), ("silence", 1000, 1300, "reconnect")]


def test_a_new_epoch_behind_the_lane_cuts_it_without_a_hole() -> None:
    scene = speech_scene()
    scene.hears("." * 10)
    scene.epoch(1, 400, "audio")
    assert scene.finals() == [("silence", 0, 1000, "reconnect")]
    scene.hears("." * 25, start=1000, epoch=1)
    assert scene.finals()[-1] == ("silence", 1000, 3000, "window")


def test_a_new_epoch_of_a_stream_that_does_not_drive_cuts_nothing() -> None:
    scene = speech_scene()
    scene.hears("#" * 10)
    assert scene.epoch(1, 100_000, "video") == []
    scene.hears("." * 7, start=1000)
    assert scene.finals() == [("utterance", 0, 1200, "silence")]


def test_windows_are_cut_and_the_grid_goes_on() -> None:
    scene = Scene(VIDEO, segmentation=windows(1000))
    scene.bound(1500, "video")
    scene.epoch(1, 3200, "video")
    scene.bound(5000, "video")
    assert scene.finals() == [
        ("window", 0, 1000, "window"),
        ("window", 1000, 1500, "reconnect"),
        ("hole", 1500, 3200, "reconnect"),
        ("window", 3200, 4000, "window"),
        ("window", 4000, 5000, "window"),
    ]


@pytest.mark.parametrize(
    ("length", "hop", "rest"),
    [(1000, 400, [(1500, 2200), (1600, 2600)]), (300, 1000, [(2000, 2300)]), (600, 1000, [(1500, 1600), (2000, 2600)])],
)
def test_behind_a_cut_the_newest_window_goes_on_alone_where_it_has_a_rest(
    length: int, hop: int, rest: list[tuple[int, int]]
) -> None:
    scene = Scene(VIDEO, segmentation=windows(length, hop=hop))
    scene.bound(1500, "video")
    scene.epoch(1, 1500, "video")
    before = len(scene.finals())
    scene.bound(rest[-1][1], "video")
    assert [(start, end) for _, start, end, _ in scene.finals()[before:]] == rest


@pytest.mark.parametrize(("cadence", "cut", "first"), [(1000, 3400, "used"), (250, 3500, "late")])
def test_a_window_is_cut_where_the_new_epoch_begins_but_for_what_was_shown(cadence: int, cut: int, first: str) -> None:
    scene = Scene(VIDEO, AUDIO, segmentation=windows(1000), cadence=cadence)
    scene.idle("video")
    scene.bound(3600, "audio")
    scene.push(chunk(3600, 3620))
    scene.epoch(1, 3400, "video")
    scene.push(frame(3400, epoch=1))
    scene.bound(4000, "video", "audio")
    assert scene.finals()[-2:] == [("window", 3000, cut, "reconnect"), ("window", cut, 4000, "window")]
    assert (scene.decided["audio", 3600], scene.decided["video", 3400]) == ("used", first)


def test_a_window_that_opened_behind_a_cut_begins_anew_without_it() -> None:
    scene = Scene(VIDEO, AUDIO, segmentation=windows(1000))
    scene.idle("video")
    scene.bound(3600, "audio")
    scene.epoch(1, 2500, "video")
    scene.bound(4000, "video", "audio")
    assert scene.finals()[-2:] == [("window", 2000, 3000, "window"), ("window", 3000, 4000, "window")]


def test_a_line_in_a_hole_is_left_out_and_one_across_its_end_is_shortened() -> None:
    scene = Scene(VIDEO, segmentation=lines((0, 1000), (1200, 1500), (1600, 2400)))
    scene.bound(500, "video")
    scene.epoch(1, 2000, "video")
    scene.bound(2400, "video")
    assert scene.finals() == [("line", 0, 500, "reconnect"), ("hole", 500, 2000, "reconnect"), ("line", 2000, 2400, "line")]


def test_after_the_end_of_all_a_new_epoch_goes_on_with_a_hole() -> None:
    scene = Scene(VIDEO, segmentation=windows(1000))
    scene.end(1500, "video")
    scene.epoch(1, 1700, "video")
    scene.bound(2500, "video")
    assert scene.finals()[-3:] == [
        ("window", 1000, 1500, "end"),
        ("hole", 1500, 1700, "reconnect"),
        ("window", 1700, 2000, "window"),
    ]
