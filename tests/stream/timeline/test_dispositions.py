from __future__ import annotations

import pytest
from scene import ACTIVITY, AUDIO, VIDEO, WORDS, Scene, chunk, frame, step, windows, word

from stream.errors import TimelineError
from stream.timeline.dispositions import Ledger


def test_the_five_add_up() -> None:
    ledger = Ledger()
    packets = [frame(at) for at in range(5)]
    ledger.received("video", 5)
    ledger.decide("video", packets[:2], "used")
    ledger.decide("video", packets[2:3], "late")
    ledger.decide("video", packets[3:4], "dropped", "refused")
    counts = ledger.summary()["video"]
    assert (counts.received, counts.used, counts.late, counts.dropped) == (5, 2, 1, {"refused": 1})
    assert (counts.unclaimed, counts.pending) == (0, 1)


def test_what_is_dropped_before_the_door_is_received_and_dropped() -> None:
    ledger = Ledger()
    ledger.received("video", 3)
    ledger.dropped("video", "shed", 2)
    ledger.received_and_dropped("video", "sampling", 4)
    counts = ledger.summary()["video"]
    assert (counts.received, counts.dropped, counts.pending) == (7, {"shed": 2, "sampling": 4}, 1)


def test_more_can_not_be_dropped_than_came() -> None:
    with pytest.raises(TimelineError, match="dropped packets of stream 'video': found 2, expected at most the 0 received"):
        Ledger().dropped("video", "shed", 2)


def test_a_sum_that_is_wrong_is_an_error() -> None:
    ledger = Ledger()
    ledger.decide("video", [frame(0)], "used")
    with pytest.raises(TimelineError, match="dispositions of stream 'video'"):
        ledger.summary()


def test_declared_streams_are_listed_before_anything_comes() -> None:
    assert list(Scene(VIDEO, WORDS).aligner.ledger.summary()) == ["video", "words"]


def test_a_packet_is_pending_until_its_segment_is_final() -> None:
    scene = Scene(VIDEO, AUDIO, segmentation=windows(1000))
    scene.push(frame(500), frame(1500))
    scene.bound(2000, "video")
    assert scene.decided == {}
    assert scene.aligner.ledger.summary()["video"].pending == 2
    scene.bound(1000, "audio")
    assert scene.decided == {("video", 500): "used"}


def test_a_packet_in_two_windows_is_used_once() -> None:
    scene = Scene(VIDEO, segmentation=windows(1000, hop=500))
    scene.push(frame(700))
    scene.bound(5000, "video")
    counts = scene.aligner.ledger.summary()["video"]
    assert (counts.received, counts.used) == (1, 1)


def test_a_packet_for_a_final_that_is_not_frozen_is_used_at_once_and_in_the_amendment() -> None:
    scene = Scene(VIDEO, WORDS, segmentation=windows(1000), text_lateness=10)
    scene.idle("video")
    scene.active("video")
    scene.push(frame(100))
    scene.bound(1000, "video")
    scene.advance(10)
    scene.push(word(300, 400))
    assert scene.decided == {("video", 100): "used", ("words", 300): "used"}
    scene.bound(1000, "words")
    assert [p.sequence for p in scene.slice("words").packets] == [300]


def test_a_packet_for_a_frozen_segment_is_late_and_given_out() -> None:
    scene = Scene(VIDEO, AUDIO, segmentation=windows(1000))
    scene.idle("audio")
    scene.bound(1000, "video")
    scene.push(chunk(900, 1000), arrival=70)
    assert scene.decided == {("audio", 900): "late"}
    (late,) = scene.late
    assert (late.stream, late.sequence, late.start_ns, late.arrival_ns) == ("audio", 900, 900_000_000, 70_000_000)


def test_a_chunk_that_reaches_into_an_open_segment_is_not_late() -> None:
    scene = Scene(VIDEO, AUDIO, segmentation=windows(1000))
    scene.idle("audio")
    scene.bound(1000, "video")
    scene.push(chunk(900, 1001))
    scene.bound(2000, "video")
    assert scene.decided == {("audio", 900): "used"}


def test_between_windows_with_a_long_hop_lies_nobodys() -> None:
    scene = Scene(VIDEO, AUDIO, segmentation=windows(1000, hop=3000))
    scene.push(frame(1000), frame(2999), frame(3000), chunk(2000, 3000), chunk(2900, 3001))
    assert scene.decided == {("video", 1000): "unclaimed", ("video", 2999): "unclaimed", ("audio", 2000): "unclaimed"}


def test_before_zero_lies_nobodys() -> None:
    scene = Scene(VIDEO, AUDIO, segmentation=windows(1000))
    scene.push(frame(-1), chunk(-20, 0), chunk(-1, 19))
    assert scene.decided == {("video", -1): "unclaimed", ("audio", -20): "unclaimed"}


def test_beyond_the_lanes_end_lies_nobodys() -> None:
    scene = Scene(VIDEO, ACTIVITY, AUDIO, segmentation=windows(1000))
    scene.push(step(1400, 1432, 0.1), step(1600, 1632, 0.1))
    scene.end(1500, "video", "audio")
    assert scene.decided == {("activity", 1400): "used", ("activity", 1600): "unclaimed"}
    scene.push(step(1700, 1732, 0.1))
    assert scene.decided["activity", 1700] == "unclaimed"


def test_a_hole_is_nobodys_for_what_had_come_and_for_what_comes() -> None:
    scene = Scene(VIDEO, AUDIO, segmentation=windows(1000))
    scene.push(chunk(1500, 1600), chunk(1900, 2100))
    scene.bound(500, "video")
    scene.epoch(1, 2000, "video")
    assert scene.decided == {("audio", 1500): "unclaimed"}
    scene.push(chunk(1950, 2000))
    assert scene.decided == {("audio", 1500): "unclaimed", ("audio", 1950): "unclaimed"}


def test_nothing_is_pending_after_close() -> None:
    scene = Scene(VIDEO, AUDIO, ACTIVITY, WORDS)
    scene.push(frame(0), chunk(0, 100), word(0, 300), step(0, 32, 0.9))
    scene.close()
    assert all(counts.pending == 0 for counts in scene.aligner.ledger.summary().values())
