"""Devices that are asked for their time, at the live door."""

from __future__ import annotations

import random

import pytest
from live_strategies import AUDIO, CHUNK_NS, MS, VIDEO, LiveScene, S, maker

from stream.errors import TimelineError
from stream.timeline.clock_settings import ClockSettings, Latency
from stream.timeline.live import LiveDoor, LiveStream
from stream.timeline.packets import Modality, Packet, StreamIdle

AHEAD_NS, DELAY_NS = -300 * S, 60 * MS
DRIFT = 200e-6
SENSOR = LiveStream(name="audio", modality=Modality.AUDIO, device="microphone")


def stamp_of(at_ns: int, ahead_ns: int) -> int:
    return at_ns + round(at_ns * DRIFT) + ahead_ns


class Asked(LiveScene):
    """A microphone 200 ppm fast whose chunks take 60 ms and more; every five seconds it is asked for its time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.door = LiveDoor(self.streams, self.settings, two_way={"microphone"})
        self.chance = random.Random(7)
        self.number = 0

    def session(self, from_ns: int, to_ns: int, *, ahead_ns: int = AHEAD_NS, asked: bool = True) -> None:
        for start_ns in range(from_ns, to_ns, CHUNK_NS):
            arrival_ns = start_ns + CHUNK_NS + DELAY_NS + self.number % 3 * MS
            if asked and start_ns % (5 * S) == 0:
                self.ask(start_ns, arrival_ns, ahead_ns)
            stamp_ns = stamp_of(start_ns, ahead_ns)
            length_ns = stamp_of(start_ns + CHUNK_NS, ahead_ns) - stamp_ns
            self.truth["audio", self.number] = start_ns
            make = maker("audio", self.number)
            self.keep(self.door.push("audio", self.number, stamp_ns, length_ns, make, arrival_ns))
            self.number += 1

    def ask(self, at_ns: int, arrival_ns: int, ahead_ns: int) -> None:
        stamp_ns = stamp_of(at_ns, ahead_ns)
        offset_ns = at_ns - stamp_ns + self.chance.randint(-100_000, 100_000)
        self.keep(self.door.observe_offset("microphone", stamp_ns, offset_ns, MS, arrival_ns))

    def errors_ns(self, from_ns: int = 0) -> list[int]:
        packets = self.packets("audio")
        return [abs(p.start_ns - self.truth["audio", p.sequence]) for p in packets if p.start_ns >= from_ns]


def test_its_delay_does_not_shift_its_packets_and_the_truth_lies_within_what_is_stated() -> None:
    scene = Asked([SENSOR])
    scene.session(0, 60 * S)
    given = [g for g in scene.given if isinstance(g.item, Packet)]
    assert [g.item.sequence for g in given] == list(range(3_000))
    assert max(scene.errors_ns(30 * S)) < MS
    assert all(abs(g.item.start_ns - scene.truth["audio", g.item.sequence]) <= g.uncertainty_ns for g in given)
    least_delay = LiveScene([AUDIO])
    least_delay.run(0, 5 * S, "audio", delay_ns=DELAY_NS)
    assert least_delay.worst_ns() >= DELAY_NS  # what arrivals alone say of the same


def test_its_latency_lies_between_capture_and_stamp() -> None:
    scene = Asked([SENSOR])
    scene.door = LiveDoor([SENSOR], latencies={"microphone": Latency(latency_ns=30 * MS)}, two_way={"microphone"})
    scene.session(0, 30 * S)
    assert all(abs(error_ns - 30 * MS) < MS for error_ns in scene.errors_ns(10 * S))


def test_packets_wait_for_the_first_answer() -> None:
    scene = Asked([SENSOR])
    scene.session(0, S, asked=False)
    assert (scene.given, scene.door.waiting) == ([], 50)
    scene.ask(S, S + CHUNK_NS + DELAY_NS, AHEAD_NS)
    assert [p.sequence for p in scene.packets("audio")] == list(range(50))
    assert scene.door.waiting == 0


def test_one_that_never_answers_is_refused_and_holds_nobody_up_for_longer_than_it_may() -> None:
    wait_ns = ClockSettings().offset_wait_ns
    scene = Asked([VIDEO, SENSOR])
    scene.session(0, S, asked=False)
    assert scene.door.next_deadline_ns == CHUNK_NS + DELAY_NS + wait_ns
    scene.run(2 * S, 14 * S, "video")
    assert scene.door.refused == {"video": 0, "audio": 50}
    assert [item for item in scene.controls() if isinstance(item, StreamIdle) and item.stream == "audio"]


@pytest.mark.parametrize("jump_ns", [-2_000 * S, 2_000 * S])
def test_a_reset_that_its_packets_bear_out_is_known_with_the_next_answer_and_loses_nothing(jump_ns: int) -> None:
    scene = Asked([SENSOR])
    scene.session(0, 28 * S)
    scene.session(28 * S, 60 * S, ahead_ns=AHEAD_NS + jump_ns)
    (start,) = scene.epoch_starts()
    assert start.epoch == 1
    packets = scene.packets("audio")
    assert [p.sequence for p in packets] == list(range(3_000))
    assert [p.epoch for p in packets] == [0] * 1_400 + [1] * 1_600
    assert max(scene.errors_ns(30 * S)) < MS
    assert scene.door.refused == {"audio": 0}


def test_a_damaged_stamp_and_a_damaged_answer_are_not_believed() -> None:
    scene = Asked([SENSOR])
    scene.session(0, 10 * S)
    now_ns = 10 * S + CHUNK_NS + DELAY_NS
    scene.keep(scene.door.push("audio", scene.number, 7 * S, 0, maker("audio", scene.number), now_ns))
    scene.number += 1
    scene.keep(scene.door.observe_offset("microphone", stamp_of(10 * S, AHEAD_NS), 900 * S, MS, now_ns))
    scene.session(10 * S + CHUNK_NS, 40 * S)
    assert scene.epoch_starts() == []
    assert scene.door.refused == {"audio": 1}
    assert max(scene.errors_ns(30 * S)) < MS


def test_only_a_device_that_is_said_to_be_is_asked() -> None:
    door = LiveDoor([AUDIO, VIDEO], two_way={"microphone"})
    with pytest.raises(TimelineError, match="'camera'"):
        door.observe_offset("camera", 0, 0, 0, 0)
