"""Hostile frames: each decoder gives what it should or one error, both ends go on, and nothing changes but a counter."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import chain, count
from typing import Any

import hostile
import msgspec
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import PublishingError
from stream.prediction import Prediction, Result
from stream.publishing.accounts import PeerLimits
from stream.publishing.following import HELD, Following
from stream.publishing.known import Received, received
from stream.publishing.publisher import Publisher
from stream.publishing.replay import Page, Refusal, Request, unpack_answer, unpack_request
from stream.publishing.subscriber import Subscriber
from stream.publishing.wire import (
    Gap,
    Header,
    Heartbeat,
    Message,
    SessionEvent,
    pack,
    redact,
    split,
    unpack,
    unpack_body,
    unpack_header,
    unpack_heartbeat,
)

PATIENCE_S = 20.0
PATIENCE_MS = round(1_000 * PATIENCE_S)
ASKS = b'{"request":%d,"after":{"publisher_epoch":0,"global_sequence":0},"prefixes":["prediction/"]}'

answers = st.tuples(hostile.pages, st.lists(hostile.messages, max_size=2)).map(lambda a: [a[0], *chain(*a[1])])
DECODERS: dict[str, tuple[Callable[[Any], Any], st.SearchStrategy[Any], Any]] = {
    "message": (unpack, hostile.messages | hostile.few, Message),
    "header": (unpack_header, hostile.headers, Header),
    "body": (lambda frames: unpack_body(frames[0], split(frames[1])[1]), hostile.messages, Prediction | SessionEvent),
    "heartbeat": (unpack_heartbeat, st.tuples(st.just(b"heartbeat"), hostile.heartbeats) | hostile.few, Heartbeat),
    "request": (unpack_request, hostile.requests, Request),
    "answer": (lambda frames: unpack_answer(frames)[0], answers | hostile.few, Page | Refusal),
    "redact": (redact, hostile.payloads, bytes),
}


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.data())
@settings(deadline=None, max_examples=200)
def test_every_decoder_gives_what_it_should_or_one_line(name: str, data: st.DataObject) -> None:
    decode, frames, kind = DECODERS[name]
    given_frames = data.draw(frames)
    try:
        outcome = decode(given_frames)
    except PublishingError as error:
        outcome = error
    assert isinstance(outcome, kind | PublishingError)
    assert "\n" not in str(outcome) or isinstance(outcome, kind)


def opened(frames: list[bytes]) -> Received | None:
    try:
        return received(frames)
    except PublishingError:
        return None


def heartbeat(frame: bytes) -> Heartbeat | None:
    try:
        return unpack_heartbeat([b"heartbeat", frame])
    except PublishingError:
        return None


def answer(frames: list[bytes]) -> tuple[Page | Refusal, list[Received]] | None:
    try:
        page, messages = unpack_answer(frames)
    except PublishingError:
        return None
    return page, [message for message in map(opened, messages) if message is not None]


numbers = st.integers(1, 5)
positions = st.fixed_dictionaries({"publisher_epoch": numbers, "global_sequence": st.integers(0, 5)})
headings = st.builds(
    lambda epoch, sequence, number: Header(
        version=1, publisher_epoch=epoch, sequence=sequence, global_sequence=number, published="now"
    ),
    numbers,
    st.integers(1, 5) | st.just(2**53),
    st.integers(1, 5) | st.just(2**53),
)
said = st.one_of(
    st.builds(Received, hostile.topics, headings, st.just(b"")),
    hostile.heartbeats.map(heartbeat),
    answers.map(answer),
)


@given(st.lists(said, max_size=25), st.booleans())
@settings(deadline=None, max_examples=200)
def test_whatever_a_publisher_says_its_subscriber_goes_on(items: list[Any], again: bool) -> None:
    following = Following(("prediction/", "session/"), lambda topic: topic.startswith((b"prediction/", b"session/")))
    now_s = 0.0
    for item in items:
        now_s += 0.7
        if isinstance(item, Received):
            following.take(item)
        elif isinstance(item, Heartbeat):
            following.take_heartbeat(item, now_s)
        elif item is not None and (asked := following.request(now_s)) is not None:
            following.answer(msgspec.structs.replace(item[0], request=asked.request), item[1], now_s)
        if again:
            following.reconnected()
        following.request(now_s)
        assert len(following._held) <= HELD + 1
    for told in following.known.out:
        assert isinstance(told, Gap | Received)


def prediction(number: int) -> Prediction:
    fields: dict[str, Any] = {"kind": "window", "revision": 1, "status": "final", "reason": "window"}
    return Prediction(result=Result(session="s", start_ns=number, end_ns=number + 1, **fields))


class Foreign:
    """Somebody in a publisher's place who says what he likes on both sockets."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self._xpub, self._router = self._context.socket(zmq.XPUB), self._context.socket(zmq.ROUTER)
        ports = [one.bind_to_random_port("tcp://127.0.0.1") for one in (self._xpub, self._router)]
        self._replay = {str(ports[0]): ports[1]}
        self._numbers = count(1)
        self.subscriber = Subscriber(f"tcp://127.0.0.1:{ports[0]}", timeout=PATIENCE_S, max_age=None)
        for _ in range(3):
            assert self._xpub.poll(PATIENCE_MS)
            self._xpub.recv()
        self.items = iter(self.subscriber)

    def beat(self) -> None:
        beat = Heartbeat(
            version=1, publisher_epoch=1, sequence=0, global_sequence=0, published="now", interval_ms=500, replay=self._replay
        )
        self._xpub.send_multipart([b"heartbeat", msgspec.json.encode(beat)])

    def answer(self, *answers: list[bytes]) -> None:
        """To the one request that a subscriber begins with."""
        assert self._router.poll(PATIENCE_MS)
        route, request = self._router.recv_multipart()
        asked = unpack_request(request)
        for frames in answers:
            self._router.send_multipart([route, *frames])
        page = Page(request=asked.request, upto=asked.after)
        self._router.send_multipart([route, msgspec.json.encode(page)])

    def say(self, frames: list[bytes]) -> None:
        self._xpub.send_multipart(frames)

    def publish(self) -> Prediction:
        """The next of its messages."""
        number = next(self._numbers)
        self.say(pack(prediction(number), publisher_epoch=1, sequence=number, global_sequence=number))
        return prediction(number)

    def close(self) -> None:
        self.subscriber.close()
        self._context.destroy(linger=0)


@pytest.fixture(scope="module")
def foreign() -> Iterator[Foreign]:
    foreign = Foreign()
    yield foreign
    foreign.close()


nonsense = (
    st.lists(st.binary(max_size=20), min_size=1, max_size=5)
    | st.tuples(st.just(b"heartbeat"), st.binary(max_size=40)).map(list)
    | st.tuples(st.just(b"prediction/s"), st.binary(max_size=40), st.binary(max_size=40)).map(list)
)


@given(st.lists(nonsense, max_size=6))
@settings(deadline=None, max_examples=50)
def test_a_subscriber_counts_nonsense_and_takes_the_next(foreign: Foreign, spoken: list[list[bytes]]) -> None:
    before = foreign.subscriber.malformed
    heard = [frames for frames in spoken if frames[0].startswith((b"prediction/", b"session/", b"heartbeat"))]
    for frames in spoken:
        foreign.say(frames)
    expected = foreign.publish()
    assert next(foreign.items) == expected
    assert foreign.subscriber.malformed == before + len(heard)
    assert foreign.subscriber.lost == 0


def test_a_subscriber_counts_nonsense_in_answers() -> None:
    foreign = Foreign()
    try:
        foreign.beat()
        spoken = [[b""], [b"{}"], [b'{"request":1}', b"a"], [b"[" * 9_000], [hostile.SAMPLE["page"].encode(), b"a", b"b", b"c"]]
        items = foreign.items
        first = foreign.publish()
        thread = threading.Thread(target=foreign.answer, args=spoken)
        thread.start()
        assert next(items) == first
        thread.join()
        assert foreign.publish() == next(items)
        assert foreign.subscriber.malformed == len(spoken)
    finally:
        foreign.close()


@pytest.fixture(scope="module")
def publisher() -> Iterator[Publisher]:
    limits = PeerLimits(requests_per_s=1e6, requests_at_once=1e6)
    with Publisher("tcp://127.0.0.1:*", peers=limits) as publisher:
        publisher.publish(prediction(1))
        position = publisher.publish(SessionEvent(session="s", event="ended"))
        assert publisher.wait_for_acknowledgement(position, PATIENCE_MS / 1_000)
        yield publisher


@pytest.fixture(scope="module")
def asker(publisher: Publisher) -> Iterator[Any]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as asker:
        asker.linger = 0
        asker.rcvtimeo = PATIENCE_MS
        host, _, port = publisher.endpoint.rpartition(":")
        asker.connect(f"{host}:{publisher._outbound._replay[port]}")
        yield asker


def is_request(frame: bytes) -> bool:
    try:
        unpack_request(frame)
    except PublishingError:
        return False
    return True


def answered(asker: Any, number: int) -> list[bytes]:
    """The answer to one good request; those to others are passed over."""
    asker.send(ASKS % number)
    while msgspec.json.decode((frames := asker.recv_multipart())[0])["request"] != number:
        pass
    return frames[1:]


@given(st.lists(hostile.requests.map(lambda one: [one]) | hostile.few.filter(bool), max_size=3))
@settings(deadline=None, max_examples=100)
def test_hostile_requests_change_nothing_but_a_counter(publisher: Publisher, asker: Any, spoken: list[list[bytes]]) -> None:
    before = answered(asker, 2**40)
    refused = publisher.refused
    bad = 0
    for frames in spoken:
        asker.send_multipart(frames)
        if len(frames) == 1 and is_request(frames[0]):
            asker.recv_multipart()  # one at a time: the ROUTER keeps few answers, and lets go of what is beyond them
        else:
            bad += 1
    assert answered(asker, 2**40 + 1) == before
    assert publisher.refused == refused + bad


@given(st.lists(st.lists(st.binary(max_size=12) | st.just(b"\x01prediction/s"), min_size=1, max_size=3), max_size=4))
@settings(deadline=None, max_examples=40)
def test_hostile_subscriptions_take_nothing_from_the_others(publisher: Publisher, spoken: list[list[bytes]]) -> None:
    with zmq.Context() as context, context.socket(zmq.XSUB) as harmful:
        harmful.linger = 0
        harmful.connect(publisher.endpoint)
        for frames in spoken:
            harmful.send_multipart(frames)
        with Subscriber(publisher.endpoint, "s", PATIENCE_S, until_ended=True) as subscriber:
            assert list(subscriber) == [prediction(1)]
