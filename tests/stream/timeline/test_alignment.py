from __future__ import annotations

import pytest
from scene import ACTIVITY, AUDIO, VIDEO, WORDS, Given, Scene, brief, frame, sequences, utterances, windows, word

from stream.errors import TimelineError
from stream.timeline.packets import Bound


def talk(**ms: float) -> Scene:
    """Video far ahead, so that voice activity alone decides."""
    scene = Scene(VIDEO, AUDIO, ACTIVITY, **ms)
    scene.bound(100_000, "video", "audio")
    return scene


# Provisionals


def test_a_provisional_is_due_each_cadence_and_the_final_follows_it() -> None:
    scene = Scene(VIDEO, segmentation=windows(3000), cadence=1000)
    assert scene.bound(999, "video") == []
    assert scene.bound(1000, "video") == [Given("window", 0, 1000, 1, "provisional", "cadence")]
    assert scene.bound(2500, "video") == [Given("window", 0, 2000, 2, "provisional", "cadence")]
    assert scene.bound(3000, "video") == [Given("window", 0, 3000, 3, "final", "window")]


def test_of_several_steps_due_at_once_the_newest_is_given_and_the_other_numbers_stay_unused() -> None:
    scene = Scene(VIDEO, segmentation=windows(5000), cadence=1000)
    assert scene.bound(3100, "video") == [Given("window", 0, 3000, 3, "provisional", "cadence")]


def test_a_provisional_that_falls_due_with_the_close_is_not_given() -> None:
    scene = Scene(VIDEO, segmentation=windows(3000), cadence=1000)
    assert scene.bound(3000, "video") == [Given("window", 0, 3000, 3, "final", "window")]


@pytest.mark.parametrize(("cadence", "number"), [(999, 2), (1000, 1), (1001, 1), (500, 2), (499, 3)])
def test_the_number_of_a_final_counts_the_steps_before_its_end(cadence: float, number: int) -> None:
    scene = Scene(VIDEO, segmentation=windows(1000), cadence=cadence)
    assert scene.bound(1000, "video")[-1].number == number


def test_a_provisional_utterance_ends_with_what_has_been_heard_and_its_pad() -> None:
    scene = talk(cadence=500)
    given = scene.hears("########......")
    assert given == [
        Given("utterance", 0, 500, 1, "provisional", "cadence"),
        Given("utterance", 0, 1000, 2, "provisional", "cadence"),
    ]
    assert scene.hears(".", start=1400) == [Given("utterance", 0, 1000, 3, "final", "silence")]


def test_an_end_before_the_newest_step_still_counts_on() -> None:
    scene = talk(cadence=300)
    given = scene.hears("###........")
    assert [(g.end, g.number, g.status) for g in given if g.kind == "utterance"] == [
        (300, 1, "provisional"),
        (500, 2, "provisional"),
        (500, 3, "provisional"),
        (500, 4, "final"),
    ]


def test_a_provisional_silence_does_not_reach_past_undecided_speech() -> None:
    scene = talk(segmentation=utterances(shortest=1000), cadence=500)
    assert [g.end for g in scene.hears("........" + "#" * 9)] == [500]
    assert Given("silence", 0, 600, 2, "final", "speech") in scene.hears("#", start=1700)


# Readiness and finals


def test_a_final_waits_for_every_stream_that_is_waited_for() -> None:
    scene = Scene(VIDEO, AUDIO, ACTIVITY, segmentation=windows(1000))
    scene.bound(1000, "video", "audio")
    scene.bound(999, "activity")
    assert scene.finals() == []
    assert scene.bound(1000, "activity") == [Given("window", 0, 1000, 1, "final", "window")]


def test_an_idle_stream_is_not_waited_for_and_its_slice_says_so() -> None:
    scene = Scene(VIDEO, AUDIO, segmentation=windows(1000))
    scene.bound(1000, "video")
    assert scene.idle("audio") == [Given("window", 0, 1000, 1, "final", "window")]
    assert scene.slice("audio").absence == "idle"


def test_an_end_moves_its_own_stream_only() -> None:
    scene = Scene(VIDEO, AUDIO, segmentation=windows(1000))
    scene.bound(500, "audio")
    scene.end(1000, "video")
    assert scene.finals() == []
    scene.bound(1000, "audio")
    assert scene.finals() == [("window", 0, 1000, "window")]


# Words


def test_words_that_are_in_time_are_in_the_final() -> None:
    scene = Scene(VIDEO, WORDS, segmentation=windows(1000))
    scene.bound(1000, "video", arrival=1000)
    scene.push(word(100, 300), arrival=1500)
    given = scene.bound(1000, "words", arrival=2000)
    assert given == [Given("window", 0, 1000, 1, "final", "window")]
    assert (scene.slice("words").state, sequences(scene.slice("words").packets)) == ("present", [100])
    assert scene.next_deadline is None


def test_words_hold_a_final_at_most_for_their_lateness_and_amend_it_when_they_come() -> None:
    scene = Scene(VIDEO, WORDS, segmentation=windows(1000), text_lateness=3000, amend=10_000)
    scene.push(word(100, 300), arrival=500)
    assert scene.bound(1000, "video", arrival=1000) == []
    assert scene.next_deadline == 4000
    assert scene.advance(3999) == []
    assert scene.advance(5000) == [Given("window", 0, 1000, 1, "final", "window")]
    assert scene.revisions[-1].decided_ns == 4_000_000_000, "as if called exactly then"
    assert scene.slice("words").state == "pending", "it holds a word, and is still behind"
    assert scene.next_deadline == 14_000
    scene.push(word(400, 900), arrival=6000)
    assert scene.bound(1000, "words", arrival=6500) == [Given("window", 0, 1000, 2, "amended", "words")]
    assert (scene.slice("words").state, sequences(scene.slice("words").packets)) == ("present", [100, 400])
    assert scene.next_deadline is None


def test_what_never_comes_is_absent_at_the_time_out() -> None:
    scene = Scene(VIDEO, WORDS, segmentation=windows(1000), text_lateness=3000, amend=10_000)
    scene.bound(500, "words", arrival=0)
    scene.bound(1000, "video", arrival=1000)
    given = scene.advance(14_000)
    assert [(g.number, g.status, g.reason) for g in given] == [(1, "final", "window"), (2, "amended", "time-out")]
    assert [r.decided_ns // 10**6 for r in scene.revisions] == [4000, 14_000]
    assert (scene.slice("words").state, scene.slice("words").absence) == ("absent", "nothing-there")


def test_a_word_after_the_freeze_is_late() -> None:
    scene = Scene(VIDEO, WORDS, segmentation=windows(1000), text_lateness=10, amend=10)
    scene.bound(1000, "video")
    scene.push(word(100, 300), arrival=20)
    assert [late.stream for late in scene.late] == ["words"]
    assert scene.revisions[-1].reason == "time-out"


def test_idle_words_hold_nothing_and_can_still_amend() -> None:
    scene = Scene(VIDEO, WORDS, segmentation=windows(1000))
    scene.idle("words")
    assert scene.bound(1000, "video") == [Given("window", 0, 1000, 1, "final", "window")]
    assert scene.slice("words").state == "pending"
    scene.active("words")
    assert scene.bound(1000, "words") == [Given("window", 0, 1000, 2, "amended", "words")]


def test_words_that_have_ended_leave_nothing_to_amend() -> None:
    scene = Scene(VIDEO, WORDS, segmentation=windows(1000))
    scene.end(0, "words")
    assert scene.bound(1000, "video") == [Given("window", 0, 1000, 1, "final", "window")]
    assert (scene.slice("words").state, scene.slice("words").absence) == ("absent", "ended")
    assert scene.next_deadline is None


def test_one_item_gives_all_finals_before_all_amendments() -> None:
    scene = Scene(VIDEO, WORDS, segmentation=windows(1000), text_lateness=100, amend=10_000)
    scene.bound(1000, "video", arrival=0)
    scene.bound(2000, "video", arrival=90)
    scene.advance(150)
    given = scene.bound(2000, "words", arrival=160)
    assert [(g.start, g.status) for g in given] == [(1000, "final"), (0, "amended")]


def test_deadlines_fire_in_order_before_the_item_that_comes_after_them() -> None:
    scene = Scene(VIDEO, WORDS, segmentation=windows(1000), text_lateness=100, amend=100)
    scene.bound(1000, "video", arrival=0)
    scene.bound(2000, "video", arrival=100)
    given = scene.bound(3000, "video", arrival=200)
    assert [(g.start, g.status) for g in given] == [(0, "amended"), (1000, "final")], "equal deadlines by start"


def test_words_from_elsewhere_amend_what_a_reconnect_closed() -> None:
    scene = Scene(VIDEO, WORDS, segmentation=windows(1000))
    scene.bound(700, "video")
    scene.epoch(1, 900, "video")
    assert scene.slice("words", 0).state == "pending"
    given = scene.bound(700, "words")
    assert given == [Given("window", 0, 700, 2, "amended", "words")]


def test_a_segment_stops_waiting_for_a_stream_that_restarts() -> None:
    scene = Scene(VIDEO, AUDIO, ACTIVITY, segmentation=windows(1000))
    scene.bound(1200, "video", "audio")
    assert scene.finals() == []
    scene.epoch(1, 2000, "audio")
    assert scene.finals() == [
        ("window", 0, 1000, "window"),
        ("window", 1000, 1200, "reconnect"),
        ("hole", 1200, 2000, "reconnect"),
    ]


# Close, retention


def test_close_ends_every_stream_at_its_own_bound_and_leaves_nothing_open() -> None:
    scene = Scene(VIDEO, AUDIO, WORDS, segmentation=windows(1000), text_lateness=10)
    scene.push(frame(1300))
    scene.bound(1100, "audio")
    scene.advance(50)
    scene.close()
    assert [(g.start, g.end, g.status, g.reason) for g in map(brief, scene.revisions)] == [
        (0, 1000, "final", "window"),
        (1000, 1300, "final", "end"),
        (0, 1000, "amended", "words"),
    ]
    assert scene.next_deadline is None


def test_a_session_without_a_packet_has_no_segment() -> None:
    scene = Scene(VIDEO, AUDIO, ACTIVITY, WORDS)
    assert scene.close() == []


def test_retention_is_bounded_and_the_stream_that_holds_everything_back_is_named() -> None:
    scene = Scene(VIDEO, AUDIO, segmentation=windows(1000))
    with pytest.raises(TimelineError, match=r"stream 'video' can't be let go: stream 'audio' holds everything back"):
        scene.push(*(frame(at) for at in range(0, 100_000, 500)))


def test_with_the_dead_stream_idle_everything_goes_on() -> None:
    scene = Scene(VIDEO, AUDIO, segmentation=windows(1000), cadence=1_000_000)
    scene.idle("audio")
    scene.push(*(frame(at) for at in range(0, 100_000, 500)))
    assert len(scene.finals()) == 99


def test_an_unknown_stream_is_named_with_those_that_are_declared() -> None:
    with pytest.raises(TimelineError, match="found 'screen', expected one of video, audio"):
        Scene(VIDEO, AUDIO).push(Bound(stream="screen", bound_ns=0))
