"""A connection that is cut again and again, also in the middle of a message: what has not come is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest
import zmq
from relay import TO, Relay

from stream.prediction import Prediction, Result
from stream.publishing import BEGINNING, Gap, Publisher, Subscriber
from stream.publishing.ring import RingLimits
from stream.publishing.wire import SessionEvent, unpack_heartbeat

PATIENCE_S = 60.0


def prediction(number: int) -> Prediction:
    fields = {"kind": "window", "start_ns": number, "end_ns": number + 1, "revision": 1, "status": "final", "reason": "window"}
    return Prediction(result=Result(session="s", **fields))


def publish(publisher: Publisher, first: int, last: int) -> None:
    for number in range(first, last):
        position = publisher.publish(prediction(number))
    assert publisher.wait_for_acknowledgement(position, PATIENCE_S)


def sequences(items: Iterator[Prediction | Gap]) -> list[int]:
    """What has come or was told of, as sequences of the topic, in the order in which that was."""
    numbers: list[int] = []
    for item in items:
        if isinstance(item, Prediction):
            numbers.append(item.result.start_ns + 1)
        else:
            assert item.last is not None
            numbers.extend(range(item.first, item.last + 1))
    return numbers


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher("tcp://127.0.0.1:*") as publisher:
        yield publisher


def relay_of(publisher: Publisher, *, delay_s: float = 0.0) -> Relay:
    """Carries both ports of the publisher; it tells the second one to whoever listens to its heartbeats."""
    with zmq.Context() as context, context.socket(zmq.SUB) as listener:
        listener.subscribe("heartbeat")
        listener.connect(publisher.endpoint)
        assert listener.poll(1_000 * PATIENCE_S)
        heartbeat = unpack_heartbeat(listener.recv_multipart())
    return Relay(tuple(int(port) for pair in heartbeat.replay.items() for port in pair), delay_s=delay_s)


def far_end(publisher: Publisher) -> str:
    return f"tcp://{TO}:{publisher.endpoint.rpartition(':')[2]}"


@pytest.mark.parametrize("size", [1, 777, 20_000])
def test_cuts_in_the_middle_of_messages_lose_nothing_and_repeat_nothing(publisher: Publisher, size: int) -> None:
    with (
        relay_of(publisher, delay_s=0.002) as relay,
        Subscriber(far_end(publisher), "s", PATIENCE_S, since=BEGINNING, until_ended=True, max_age=None) as subscriber,
    ):
        items = iter(subscriber)
        publish(publisher, 0, 10)
        received = sequences(islice(items, 10))
        for first in range(10, 310, 100):
            relay.cut_after(size)
            publish(publisher, first, first + 100)
            received += sequences(islice(items, 90))
        publisher.publish(SessionEvent(session="s", event="ended"))
        received += sequences(items)
        assert relay.cuts == 3
        assert (received, subscriber.lost) == (list(range(1, 311)), 0)


def test_what_has_left_the_ring_while_nothing_passed_is_told_exactly() -> None:
    with (
        Publisher("tcp://127.0.0.1:*", limits=RingLimits(messages=50)) as publisher,
        relay_of(publisher) as relay,
        Subscriber(far_end(publisher), "s", PATIENCE_S, since=BEGINNING, until_ended=True, max_age=None) as subscriber,
    ):
        items = iter(subscriber)
        publish(publisher, 0, 10)
        received = sequences(islice(items, 10))
        relay.cut()
        publish(publisher, 10, 300)
        relay.wait_for_knock()
        relay.mend()
        received += sequences(islice(items, 51))  # the gap, and what the ring has
        publisher.publish(SessionEvent(session="s", event="ended"))
        received += sequences(items)
        assert (received, subscriber.lost) == (list(range(1, 301)), 240)
