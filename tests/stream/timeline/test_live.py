from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_strategies import AUDIO, CHUNK_NS, FRAME_NS, MS, STREAMS, VIDEO, WORDS, Call, LiveScene, S, calls, maker

from stream.errors import SettingsError, TimelineError
from stream.timeline.alignment import Aligner
from stream.timeline.clock_settings import Latency
from stream.timeline.live import DoorItem, LiveDoor, LiveSettings, LiveStream
from stream.timeline.packets import Bound, EpochStart, Modality, Packet, StreamActive, StreamEnd, StreamIdle
from stream.timeline.settings import TimelineSettings, WindowSettings
from stream.timeline.watermark import NEVER_NS, StreamDeclaration

seeded = settings(max_examples=80, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
KINDS = (StreamIdle, StreamActive)


# Places


def test_a_packet_gets_its_session_time_once_the_map_has_settled() -> None:
    scene = LiveScene([VIDEO])
    scene.run(0, S, "video")
    assert scene.given == []
    assert scene.door.waiting == 30
    scene.run(S, 2 * S, "video")
    assert [p.sequence for p in scene.packets("video")] == list(range(60))
    assert scene.worst_ns() == 0
    assert 0 < scene.door.uncertainty_ns("video") == scene.given[-1].uncertainty_ns < 10 * MS


def test_one_that_gives_too_little_to_settle_waits_no_longer_than_that() -> None:
    scene = LiveScene([VIDEO])
    scene.push("video", 0)
    scene.push("video", FRAME_NS)
    assert scene.door.next_deadline_ns == S
    assert scene.keep(scene.door.advance(S - 1)) == []
    assert [d.arrival_ns for d in scene.keep(scene.door.advance(S))] == [S, S]
    assert scene.worst_ns() == 0


def test_a_chunk_is_observed_at_its_end_before_which_it_can_not_have_come() -> None:
    scene = LiveScene([AUDIO])
    scene.run(0, 2 * S, "audio")
    assert scene.worst_ns() == 0
    assert {p.end_ns - p.start_ns for p in scene.packets("audio")} == {CHUNK_NS}


def test_the_latency_of_its_device_is_taken_off_and_its_uncertainty_stated() -> None:
    latency = Latency(latency_ns=40 * MS, uncertainty_ns=10 * MS)
    scene = LiveScene([VIDEO])
    scene.door = LiveDoor([VIDEO], latencies={"camera": latency})
    scene.run(0, 2 * S, "video", delay_ns=40 * MS)
    assert scene.worst_ns() == 0
    assert scene.door.uncertainty_ns("video") > 10 * MS


def test_the_tracks_of_a_container_share_a_clock_and_may_lie_apart_in_it() -> None:
    video = LiveStream(name="video", modality=Modality.VIDEO, device="container")
    audio = LiveStream(name="audio", modality=Modality.AUDIO, device="container")
    door, given = LiveDoor([video, audio]), list[DoorItem]()
    behind_ns = 1_080 * MS  # as far as a real file's
    for n in range(500):
        given += door.push("audio", n, n * CHUNK_NS, CHUNK_NS, maker("audio", n), (n + 1) * CHUNK_NS)
        if n * CHUNK_NS >= behind_ns:
            given += door.push("video", n, n * CHUNK_NS - behind_ns, 0, maker("video", n), (n + 1) * CHUNK_NS)
    given += door.close(500 * CHUNK_NS)
    packets = [each.item for each in given if isinstance(each.item, Packet)]
    assert {p.start_ns - p.sequence * CHUNK_NS for p in packets if p.stream == "audio"} == {0}
    assert {p.start_ns - p.sequence * CHUNK_NS for p in packets if p.stream == "video"} == {-behind_ns}
    assert not any(isinstance(each.item, EpochStart) for each in given)
    assert door.refused == {"video": 0, "audio": 0}


def test_what_a_source_held_back_while_it_connected_lies_where_it_was_captured() -> None:
    door, given, sequence = LiveDoor([AUDIO]), list[DoorItem](), 0
    for begins_ns, connected_ns in ((10 * S, 13 * S), (19 * S, 21 * S)):  # it ends after 8 s and is connected anew
        for n in range(8 * S // CHUNK_NS):
            arrival_ns = max(connected_ns, begins_ns + (n + 1) * CHUNK_NS)
            given += door.push("audio", sequence, n * CHUNK_NS, CHUNK_NS, maker("audio", sequence), arrival_ns)
            sequence += 1
        given += door.end("audio", begins_ns + 8 * S)
    starts = [each.item.start_ns for each in given if isinstance(each.item, Packet)]
    captured = [begins_ns + n * CHUNK_NS for begins_ns in (10 * S, 19 * S) for n in range(8 * S // CHUNK_NS)]
    assert starts == pytest.approx(captured, abs=MS // 10)
    assert sum(isinstance(each.item, EpochStart) for each in given) == 1
    assert door.refused == {"audio": 0}


def test_words_are_in_session_time_and_do_not_wait() -> None:
    scene = LiveScene([WORDS])
    (given,) = scene.push("words", 3 * S, 200 * MS, delay_ns=2 * S)
    assert (given.item.start_ns, given.item.end_ns, given.arrival_ns, given.uncertainty_ns) == (
        3 * S,
        3_200 * MS,
        5_200 * MS,
        0,
    )


def test_what_lies_before_the_sessions_zero_by_no_more_than_is_uncertain_lies_on_it() -> None:
    scene = LiveScene([VIDEO])
    for n in range(60):  # the first one is the one delayed least
        scene.push("video", n * FRAME_NS, delay_ns=-2 * MS if n == 1 else 0)
    first, second = scene.packets("video")[:2]
    assert (first.start_ns, second.start_ns) == (0, FRAME_NS - 2 * MS)


def test_a_packet_that_was_dropped_by_policy_is_a_bound() -> None:
    door = LiveDoor([WORDS])
    given = door.push("words", 0, S, 0, lambda place: Bound(stream="words", bound_ns=place.start_ns), 2 * S)
    assert [d.item for d in given] == [Bound(stream="words", bound_ns=S)]


# Order


def settled_words(**fields: int) -> LiveScene:
    return LiveScene([LiveStream(name="words", modality=Modality.TEXT, **fields)])


def push_word(scene: LiveScene, sequence: int, start_ns: int, arrival_ns: int) -> list[int]:
    given = scene.door.push("words", sequence, start_ns, 0, maker("words", sequence), arrival_ns)
    return [d.item.sequence for d in given if isinstance(d.item, Packet)]


def test_those_that_overtook_wait_for_the_one_that_is_missing() -> None:
    scene = settled_words()
    assert push_word(scene, 0, 0, 10) == [0]
    assert push_word(scene, 2, 20, 30) == []
    assert push_word(scene, 3, 30, 31) == []
    assert push_word(scene, 1, 10, 32) == [1, 2, 3]


def test_they_wait_no_longer_than_reorder_ns_and_what_comes_after_is_refused() -> None:
    scene = settled_words(reorder_ns=100)
    push_word(scene, 0, 0, 10)
    push_word(scene, 2, 20, 30)
    push_word(scene, 4, 40, 60)
    assert scene.door.next_deadline_ns == 130
    assert [d.item.sequence for d in scene.door.advance(130)] == [2]
    assert push_word(scene, 1, 10, 131) == []
    assert scene.door.refused == {"words": 1}
    assert push_word(scene, 3, 30, 140) == [3, 4]


# Idleness and ends


def test_a_source_is_idle_after_a_while_in_which_another_one_went_on_and_active_with_its_next_packet() -> None:
    scene = LiveScene([VIDEO, AUDIO])
    scene.run(0, 2 * S, "video", "audio")
    scene.run(2 * S, 4 * S, "audio")
    last_ns = 59 * FRAME_NS
    idle_ns = -(-(last_ns + 1_500 * MS) // CHUNK_NS) * CHUNK_NS
    assert [(d.item, d.arrival_ns) for d in scene.given if isinstance(d.item, KINDS)] == [
        (StreamIdle(stream="video", at_ns=idle_ns), idle_ns)
    ]
    active, frame = scene.push("video", 120 * FRAME_NS, delay_ns=MS)
    assert active.item == StreamActive(stream="video", at_ns=120 * FRAME_NS + MS)
    assert isinstance(frame.item, Packet)


def test_where_all_are_silent_none_is_idle_until_one_goes_on() -> None:
    scene = LiveScene([VIDEO, AUDIO])
    scene.run(0, 2 * S, "video", "audio")
    late_ns = 200 * FRAME_NS
    assert scene.door.advance(late_ns - 1) == []
    assert scene.push("audio", late_ns, CHUNK_NS)[1].item == StreamIdle(stream="video", at_ns=late_ns + CHUNK_NS)


def test_a_stream_that_never_starts_is_idle_from_the_sessions_start_on() -> None:
    scene = LiveScene([VIDEO, AUDIO])
    scene.run(0, 2 * S, "video")
    assert [i for i in scene.controls() if isinstance(i, KINDS)] == [StreamIdle(stream="audio", at_ns=45 * FRAME_NS)]


def test_an_end_gives_what_waits_and_then_the_end_behind_it() -> None:
    scene = LiveScene([VIDEO, AUDIO])
    scene.run(0, S // 2, "video", "audio")
    given = scene.keep(scene.door.end("video", S // 2 + CHUNK_NS))
    assert [d.item.sequence for d in given[:-1]] == list(range(15))
    assert given[-1].item == StreamEnd(stream="video", at_ns=14 * FRAME_NS + 1)
    assert scene.keep(scene.door.end("video", S)) == []
    assert scene.keep(scene.door.close(S))[-1].item == StreamEnd(stream="audio", at_ns=S // 2)


# Epochs


def reset_scene(jump_ns: int = -2_000 * S) -> LiveScene:
    scene = LiveScene([VIDEO, AUDIO])
    scene.run(0, 10 * S, "video", "audio")
    scene.ahead_ns["video"] += jump_ns
    scene.run(10 * S, 20 * S, "video", "audio")
    return scene


@pytest.mark.parametrize("jump_ns", [-2_000 * S, 3 * S])
def test_a_reset_clock_begins_an_epoch_and_loses_nothing(jump_ns: int) -> None:
    scene = reset_scene(jump_ns)
    (start,) = scene.epoch_starts()
    assert (start.streams, start.epoch) == (("video",), 1)
    packets = scene.packets("video")
    assert [p.sequence for p in packets] == list(range(600))
    assert [p.epoch for p in packets] == [0] * 300 + [1] * 300
    assert {p.epoch for p in scene.packets("audio")} == {0}
    assert scene.worst_ns() < MS
    assert scene.door.refused == {"video": 0, "audio": 0}


def test_an_epoch_begins_where_the_timeline_stands_so_that_others_lose_nothing() -> None:
    (start,) = reset_scene().epoch_starts()
    assert start.at_ns == 299 * FRAME_NS


def test_one_that_comes_back_with_another_clock_cuts_no_hole_into_what_others_went_on_with() -> None:
    scene = LiveScene([VIDEO, AUDIO])
    scene.run(0, 10 * S, "video", "audio")
    scene.run(10 * S, 15 * S, "audio")
    scene.ahead_ns["video"] = 0
    scene.run(15 * S + 40 * MS, 20 * S, "video", "audio", delay_ns=40 * MS)
    (start,) = scene.epoch_starts()
    assert start.at_ns == 15 * S + 40 * MS < scene.packets("video")[300].start_ns
    assert scene.door.refused == {"video": 0, "audio": 0}


def test_packets_that_overtake_each_other_at_a_reset_find_their_maps() -> None:
    scene = LiveScene([VIDEO])
    scene.run(0, 10 * S, "video")
    before = scene.ahead_ns["video"]
    at_ns = 309 * FRAME_NS
    for delay, frame in enumerate((303, 300, 304, 301, 305, 306, 302, 307, 308)):
        stamp_ns = frame * FRAME_NS + before - (2_000 * S if frame > 302 else 0)
        scene.truth["video", frame] = frame * FRAME_NS
        scene.keep(scene.door.push("video", frame, stamp_ns, 0, maker("video", frame), at_ns + delay * MS))
    scene.ahead_ns["video"] -= 2_000 * S
    scene.sequence["video"] = 310
    scene.run(310 * FRAME_NS, 14 * S, "video")
    found = {p.sequence: p.epoch for p in scene.packets("video")}
    assert {n: found[n] for n in range(300, 309)} == {n: int(n > 302) for n in range(300, 309)}


def test_a_damaged_stamp_is_refused_and_the_clock_goes_on() -> None:
    scene = LiveScene([VIDEO])
    scene.run(0, 3 * S, "video")
    scene.ahead_ns["video"] += 700 * S
    scene.push("video", 90 * FRAME_NS)
    scene.ahead_ns["video"] -= 700 * S
    scene.run(91 * FRAME_NS, 5 * S, "video")
    assert scene.door.refused == {"video": 1}
    assert [p.sequence for p in scene.packets("video")] == [n for n in range(150) if n != 90]
    assert scene.epoch_starts() == []


def test_a_stream_that_comes_back_after_its_end_begins_an_epoch_behind_the_gap() -> None:
    scene = LiveScene([VIDEO])
    scene.run(0, 3 * S, "video")
    scene.keep(scene.door.end("video", 3 * S))
    scene.ahead_ns["video"] = 77 * S
    scene.run(9 * S, 12 * S, "video")
    assert scene.epoch_starts() == [EpochStart(streams=("video",), epoch=1, at_ns=270 * FRAME_NS)]
    assert [p.epoch for p in scene.packets("video")] == [0] * 90 + [1] * 90
    assert scene.worst_ns() == 0


def test_streams_of_one_device_share_its_clock_and_its_epochs() -> None:
    sound = LiveStream(name="audio", modality=Modality.AUDIO, device="camera")
    scene = LiveScene([VIDEO, sound])
    scene.ahead_ns["audio"] = scene.ahead_ns["video"]
    scene.run(0, 5 * S, "video", "audio")
    scene.ahead_ns = dict.fromkeys(scene.ahead_ns, 0)
    scene.run(5 * S, 10 * S, "video", "audio")
    (start,) = scene.epoch_starts()
    assert start.streams == ("video", "audio")
    assert {p.epoch for p in scene.packets("audio")[-10:]} == {1}
    assert scene.door.refused == {"video": 0, "audio": 0}


# What can't be


def test_what_can_not_be_is_told() -> None:
    with pytest.raises(TimelineError, match="'video' twice"):
        LiveDoor([VIDEO, VIDEO])
    with pytest.raises(SettingsError, match="idle_after_ns"):
        LiveSettings(idle_after_ns=0)
    door = LiveDoor(STREAMS)
    with pytest.raises(TimelineError, match=r"'sound'.*video, audio, words"):
        door.push("sound", 0, 0, 0, maker("sound", 0), 0)
    with pytest.raises(TimelineError, match="length of packet 4"):
        door.push("words", 4, 0, -1, maker("words", 4), 0)
    door.advance(10)
    with pytest.raises(TimelineError, match="found 9 ns, expected at least 10 ns"):
        door.push("words", 0, 0, 0, maker("words", 0), 9)


# Anything


def run(door: LiveDoor, made: list[Call], until_ns: int) -> list[DoorItem]:
    return [item for call, _ in made for item in call(door)] + door.close(until_ns)


def end_of(made: list[Call]) -> int:
    return made[-1][1] + S if made else S


@seeded
@given(calls())
def test_bounds_never_go_back_arrivals_neither_and_all_is_accounted_for(made: list[Call]) -> None:
    door = LiveDoor(STREAMS)
    items = run(door, made, end_of(made))
    arrivals = [d.arrival_ns for d in items]
    assert arrivals == sorted(arrivals)
    epochs = [d.item.epoch for d in items if isinstance(d.item, EpochStart)]
    assert epochs == list(range(1, len(epochs) + 1))
    bounds = dict.fromkeys(("video", "audio", "words"), NEVER_NS)
    given = Counter[str]()
    for item in (d.item for d in items):
        if isinstance(item, Packet):
            assert bounds[item.stream] <= item.start_ns <= item.end_ns
            bounds[item.stream] = item.start_ns
            given[item.stream] += 1
    assert door.waiting == 0
    pushed = sum(1 for call, _ in made if call.__name__ == "call")
    assert given.total() + sum(door.refused.values()) == pushed


@seeded
@given(calls(), st.lists(st.integers(0, 60_000), max_size=30))
def test_advancing_more_often_changes_nothing(made: list[Call], instants_ms: list[int]) -> None:
    plain, often = LiveDoor(STREAMS), LiveDoor(STREAMS)
    expected = run(plain, made, end_of(made))
    extra = sorted(at * MS for at in instants_ms if at * MS <= end_of(made))
    found: list[DoorItem] = []
    for call, at_ns in made:
        while extra and extra[0] <= at_ns:
            found += often.advance(extra.pop(0))
        while (due_ns := often.next_deadline_ns) is not None and due_ns <= at_ns:
            found += often.advance(due_ns)
        found += call(often)
    found += [item for at_ns in extra for item in often.advance(at_ns)] + often.close(end_of(made))
    assert [(repr(d.item), d[1:]) for d in found] == [(repr(d.item), d[1:]) for d in expected]


@seeded
@given(calls())
def test_the_aligner_takes_all_that_the_door_gives(made: list[Call]) -> None:
    """It refuses nothing, and holds no more than it may, whatever stream is dead."""
    door = LiveDoor(STREAMS)
    declared = [StreamDeclaration(name=s.name, modality=s.modality) for s in STREAMS]
    aligner = Aligner(declared, TimelineSettings(segmentation=WindowSettings()))
    for item, arrival_ns, _ in run(door, made, end_of(made)):
        aligner.push(item, arrival_ns)
    aligner.close(end_of(made))
    for name, counts in aligner.ledger.summary().items():
        assert counts.dropped == {}, name
        assert counts.pending == 0


def test_a_stream_whose_stamps_are_worth_nothing_holds_nobody_up() -> None:
    """It is idle between its tries, and what others give becomes final."""
    scene = LiveScene([VIDEO, AUDIO])
    declared = [StreamDeclaration(name=s.name, modality=s.modality) for s in (VIDEO, AUDIO)]
    aligner = Aligner(declared, TimelineSettings(segmentation=WindowSettings()))
    scene.run(0, 4 * S, "video", "audio")
    for n in range(200, 3_000):
        scene.ahead_ns["video"] = n * n * 7_919 % 100_003 * S
        scene.run(n * CHUNK_NS, (n + 1) * CHUNK_NS, "audio")
        scene.push("video", (n + 1) * CHUNK_NS)
    for item, arrival_ns, _ in scene.given:
        aligner.push(item, arrival_ns)
    assert scene.door.refused["video"] > 2_700
    assert scene.door.waiting < 20
    assert aligner.ledger.summary()["audio"].used > 55 * 50
