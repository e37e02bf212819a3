"""A subscriber's knowledge against a publisher that loses what it likes: all that was sent comes, is superseded, or is told."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.publishing.following import ANSWER_S, Following
from stream.publishing.known import Received
from stream.publishing.replay import Page, Request
from stream.publishing.ring import Ring, RingLimits
from stream.publishing.wire import Gap, Header, Heartbeat, Position

TOPICS = (b"prediction/a", b"prediction/b", b"session/a")
PREFIXES = ("prediction/", "session/")


class Line:
    """A publisher with its ring, a line that loses, and who follows at its end. No sockets; time is a number."""

    def __init__(self, messages: int) -> None:
        self.ring = Ring(RingLimits(messages=messages))
        self.following = Following(PREFIXES, lambda _: True)
        self.now_s = 0.0
        self.sent: list[tuple[int, bytes, int]] = []
        self.previous: Position | None = None
        self.epoch = 0
        self.restart()
        self.beat(first=True)
        self.settle()

    def restart(self, *, log: bool = True) -> None:
        self.previous = self.ring.end if log else None
        if not log:
            self.ring = Ring(self.ring.limits)
        self.epoch += 1
        self.number = self.beats = 0
        self.sequences = dict.fromkeys(TOPICS, 0)
        self.changed: dict[str, int] = {}
        self.ring.begin(self.epoch, self.previous)
        self.following.reconnected()

    def send(self, topic: bytes, segment: int | None, *, lost: bool) -> None:
        self.number += 1
        self.sequences[topic] += 1
        sequence = self.sequences[topic]
        self.ring.add(self.number, sequence, [topic, b"x"], segment, self.now_s)
        self.changed[topic.decode()] = sequence
        self.sent.append((self.epoch, topic, sequence))
        if not lost:
            self.following.take(Received(topic, self.header(sequence, self.number), b"x"))

    def header(self, sequence: int, number: int, epoch: int | None = None) -> Header:
        return Header(
            version=1, publisher_epoch=epoch or self.epoch, sequence=sequence, global_sequence=number, published="now"
        )

    def beat(self, *, first: bool = False, lost: bool = False, closing: bool = False) -> None:
        self.beats += not first
        beat = Heartbeat(
            version=1,
            publisher_epoch=self.epoch,
            sequence=0 if first else self.beats,
            global_sequence=self.number,
            published="now",
            interval_ms=300,
            topics={} if first else self.changed,
            previous=self.previous,
            closing=closing,
        )
        if not first:
            self.changed = {}
        if not lost:
            self.following.take_heartbeat(beat, self.now_s)

    def settle(self, *, slow: bool = False) -> None:
        while (request := self.following.request(self.now_s)) is not None:
            if slow:  # it is asked for again before the answer is there, and answered twice
                self.now_s += ANSWER_S
                self.beat()
                again = self.following.request(self.now_s)
                self.answer(request)
                request = again or request
            self.answer(request)

    def answer(self, request: Request) -> None:
        found = self.ring.select(request.after, request.until, tuple(p.encode() for p in request.prefixes))
        page = Page(request=request.request, upto=found.upto, more=found.more, lost=found.lost, missing=tuple(found.missing))
        messages = []
        for frames in [] if request.latest else found.entries:
            epoch, number, sequence = self.place(frames)
            messages.append(Received(frames[0], self.header(sequence, number, epoch), b"x"))
        self.following.answer(page, messages, self.now_s)

    def place(self, frames: list[bytes]) -> tuple[int, int, int]:
        for epoch in self.ring._epochs:
            for number, slot in epoch.slots.items():
                if slot.frames is frames:
                    return epoch.epoch, number, slot.sequence
        raise AssertionError("not in the ring")


def test_a_publisher_that_closes_in_order_leaves_no_gap_though_it_has_no_log() -> None:
    line = Line(messages=10)
    for _ in range(3):
        line.send(TOPICS[0], None, lost=False)
    line.beat(closing=True)  # the first that is counted, upon which everything is asked for
    line.settle()
    line.restart(log=False)
    line.beat(first=True)
    line.settle()
    assert not [item for item in line.following.known.out if isinstance(item, Gap)]


def test_an_answer_that_comes_after_it_was_asked_for_again_counts() -> None:
    line = Line(messages=10)
    for lost in (False, True, False):
        line.send(TOPICS[0], None, lost=lost)
    first = line.following.request(line.now_s)
    assert first is not None
    line.now_s += ANSWER_S
    line.beat()
    assert line.following.request(line.now_s) is not None
    line.answer(first)
    assert [i.header.sequence for i in line.following.known.out if isinstance(i, Received)] == [1, 2, 3]


steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(TOPICS), st.none() | st.integers(0, 3), st.booleans()),
        st.sampled_from(["beat", "lost beat", "answer", "slow answer", "restart"]),
    ),
    max_size=60,
)


def run(line: Line, script: list[tuple[bytes, int | None, bool] | str]) -> None:
    for step in script:
        if isinstance(step, tuple):
            line.send(step[0], step[1], lost=step[2])
        elif step == "beat" or step == "lost beat":
            line.beat(lost=step == "lost beat")
        elif step == "restart":
            line.restart()
            line.beat(first=True)
        else:
            line.settle(slow=step == "slow answer")
    for _ in range(3):
        line.beat()
        line.settle()


def told(line: Line) -> tuple[list[Position], dict[tuple[int, bytes, int], int]]:
    positions, count = [], dict.fromkeys(line.sent, 0)
    for item in line.following.known.out:
        if isinstance(item, Received):
            positions.append(item.header.position)
            count[item.header.publisher_epoch, item.topic, item.header.sequence] += 1
        elif item.topic is not None:
            assert item.last is not None
            for sequence in range(item.first, item.last + 1):
                count[item.publisher_epoch, item.topic.encode(), sequence] += 1
    return positions, count


@given(steps)
@settings(deadline=None, max_examples=300)
def test_with_a_ring_that_holds_all_nothing_is_lost(script: list[tuple[bytes, int | None, bool] | str]) -> None:
    line = Line(10_000)
    run(line, script)
    _, count = told(line)
    assert not [item for item in line.following.known.out if isinstance(item, Gap)]
    assert all(times <= 1 for times in count.values())
    assert sum(times == 0 for times in count.values()) == line.following.known.superseded
    for topic in TOPICS:
        of_topic = [i.header.position for i in line.following.known.out if isinstance(i, Received) and i.topic == topic]
        assert of_topic == sorted(of_topic)


@given(steps, st.integers(1, 8))
@settings(deadline=None, max_examples=300)
def test_with_a_small_ring_what_is_lost_is_told(script: list[tuple[bytes, int | None, bool] | str], size: int) -> None:
    line = Line(size)
    run(line, [step for step in script if step != "restart"])
    _, count = told(line)
    assert all(times <= 1 for times in count.values())
    assert sum(times == 0 for times in count.values()) <= line.following.known.superseded


def test_the_end_of_an_epoch_without_a_log_is_a_gap_that_nobody_can_count() -> None:
    line = Line(100)
    line.send(TOPICS[0], None, lost=False)
    line.send(TOPICS[0], None, lost=True)
    line.restart(log=False)
    line.beat(first=True)
    line.settle()
    gaps = [item for item in line.following.known.out if isinstance(item, Gap)]
    assert [(g.publisher_epoch, g.topic, g.first, g.last, g.reason) for g in gaps] == [(1, None, 2, None, "epoch")]
