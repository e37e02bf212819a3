from __future__ import annotations

import pytest
from scene import ACTIVITY, AUDIO, VIDEO, WORDS, Scene, frame, ns, step, windows, word

from stream.errors import TimelineError
from stream.timeline.packets import Bound, EpochStart, Modality, StreamActive, StreamEnd, StreamIdle
from stream.timeline.watermark import FOREVER_NS, NEVER_NS, StreamDeclaration, Watermarks


def marks_of(*streams: StreamDeclaration, **bounds: int) -> Watermarks:
    marks = Watermarks(streams)
    for name, bound_ns in bounds.items():
        marks.raise_bound(marks.stream(name), bound_ns)
    return marks


def test_a_bound_never_goes_back() -> None:
    marks = marks_of(VIDEO, video=10)
    assert not marks.raise_bound(marks.stream("video"), 7)
    assert marks.stream("video").bound_ns == 10


def test_the_reference_bound_is_the_smallest_over_streams_that_are_neither_text_nor_activity() -> None:
    assert marks_of(VIDEO, AUDIO, ACTIVITY, WORDS, video=10, audio=8, activity=2, words=1).reference_ns == 8


def test_the_reference_bound_is_taken_over_text_where_nothing_else_is_declared() -> None:
    assert marks_of(WORDS, words=5).reference_ns == 5


def test_a_stream_that_has_not_started_is_waited_for() -> None:
    assert marks_of(VIDEO, AUDIO, video=10).reference_ns == NEVER_NS


def test_nobody_waits_for_an_idle_stream_and_the_reference_bound_does_not_follow_it_back() -> None:
    marks = marks_of(VIDEO, AUDIO, video=10, audio=4)
    marks.set_idle(StreamIdle(stream="audio", at_ns=4))
    assert (marks.reference_ns, marks.data_ns) == (10, 10)
    marks.set_idle(StreamActive(stream="audio", at_ns=4))
    assert (marks.reference_ns, marks.data_ns) == (10, 4)


def test_a_derived_stream_is_idle_with_its_source_and_ends_alone() -> None:
    marks = marks_of(VIDEO, AUDIO, ACTIVITY, video=10, audio=10, activity=3)
    activity = marks.stream("activity")
    marks.set_idle(StreamIdle(stream="audio", at_ns=10))
    assert activity.idle
    marks.end(marks.stream("audio"))
    assert activity.waited_for, "a source that has ended is not idle"
    assert marks.data_ns == 3
    marks.end(activity)
    assert marks.data_ns == 10


def test_with_nobody_to_wait_for_the_reference_bound_stays_and_data_is_complete() -> None:
    marks = marks_of(VIDEO, WORDS, video=10, words=2)
    marks.end(marks.stream("video"))
    assert (marks.reference_ns, marks.data_ns, marks.text_ns) == (10, FOREVER_NS, 2)


def test_once_every_source_has_ended_the_reference_bound_is_the_largest_of_them() -> None:
    marks = marks_of(VIDEO, AUDIO, video=10, audio=30)
    marks.end(marks.stream("video"))
    marks.end(marks.stream("audio"))
    assert marks.all_sources_ended
    assert marks.reference_ns == 30


def test_idle_text_holds_no_final_and_can_still_amend() -> None:
    marks = marks_of(VIDEO, WORDS, video=10, words=2)
    marks.set_idle(StreamIdle(stream="words", at_ns=2))
    assert (marks.text_ns, marks.open_text_ns) == (FOREVER_NS, 2)


def test_a_new_epoch_restarts_the_named_sources_and_what_derives_from_them() -> None:
    marks = marks_of(VIDEO, AUDIO, ACTIVITY, video=10, audio=10, activity=9)
    marks.end(marks.stream("audio"))
    marks.restart(EpochStart(streams=("audio",), epoch=3, at_ns=20))
    restarted = {s.name: (s.bound_ns, s.epoch, s.ended) for s in marks.streams.values()}
    assert restarted == {"video": (10, 0, False), "audio": (20, 3, False), "activity": (20, 3, False)}


def test_absence_names_the_state() -> None:
    marks = marks_of(VIDEO, AUDIO)
    video = marks.stream("video")
    assert video.absence == "not-started"
    video.started = True
    assert video.absence == "nothing-there"
    marks.set_idle(StreamIdle(stream="video", at_ns=0))
    assert video.absence == "idle"
    marks.end(video)
    assert video.absence == "ended"


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        ((VIDEO, VIDEO), "'video' twice"),
        ((ACTIVITY,), "source of stream 'activity'"),
        ((AUDIO, ACTIVITY, StreamDeclaration(name="x", modality=Modality.VIDEO, source="activity")), "source of stream 'x'"),
        ((AUDIO, ACTIVITY, StreamDeclaration(name="x", modality=Modality.ACTIVITY)), "modality activity: found 2"),
    ],
)
def test_declarations_that_can_not_be(streams: tuple[StreamDeclaration, ...], message: str) -> None:
    with pytest.raises(TimelineError, match=message):
        Watermarks(streams)


def test_a_packet_behind_its_bound_is_refused_and_changes_nothing() -> None:
    scene = Scene(VIDEO, segmentation=windows(1000))
    scene.bound(500, "video")
    scene.push(frame(499), frame(500))
    assert scene.decided == {("video", 499): "refused"}


def test_equal_starts_are_in_order() -> None:
    scene = Scene(VIDEO, segmentation=windows(1000))
    scene.push(frame(500), frame(500.0000004))
    assert scene.decided == {}


def test_after_its_end_a_stream_is_refused_until_a_new_epoch() -> None:
    scene = Scene(VIDEO, AUDIO, segmentation=windows(1000))
    scene.end(100, "video")
    scene.push(frame(200))
    scene.epoch(1, 300, "video")
    scene.push(frame(1310), frame(1320, epoch=1))
    assert scene.decided == {("video", 200): "refused", ("video", 1310): "refused"}


def test_a_derived_stream_carries_its_sources_epoch() -> None:
    scene = Scene(AUDIO, ACTIVITY)
    scene.epoch(2, 0, "audio")
    scene.push(step(0, 32, 0.9), step(32, 64, 0.9, epoch=2))
    assert scene.decided == {("activity", 0): "refused"}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (word(0, 1), "found 'words', expected one of video, audio, activity; declare it"),
        (Bound(stream="words", bound_ns=0), "found 'words'"),
        (StreamEnd(stream="words", at_ns=0), "found 'words'"),
        (StreamIdle(stream="activity", at_ns=0), "StreamIdle of 'activity': found a derived stream"),
        (EpochStart(streams=("activity",), epoch=1, at_ns=0), "EpochStart of 'activity'"),
        (EpochStart(streams=("audio",), epoch=0, at_ns=0), "EpochStart: found epoch 0, expected more than 0"),
        (step(10, 9, 0.5), "packet 10 of stream 'activity': found end 9000000 ns"),
    ],
)
def test_items_that_can_not_be(item: object, message: str) -> None:
    scene = Scene(VIDEO, AUDIO, ACTIVITY)
    with pytest.raises(TimelineError, match=message):
        scene.push(item)


def test_arrivals_that_go_back() -> None:
    scene = Scene(VIDEO)
    scene.push(frame(0), arrival=10)
    scene.push(frame(1), arrival=10)
    with pytest.raises(TimelineError, match="arrival: found 9000000 ns, expected at least 10000000 ns"):
        scene.advance(9)
    with pytest.raises(TimelineError, match="arrival"):
        scene.aligner.close(ns(9))
