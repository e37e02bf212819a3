from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
import zmq

from stream.errors import EndpointError, InputError, PublishingError
from stream.prediction import Prediction, Result, encode
from stream.publishing import publisher as publisher_module
from stream.publishing.publisher import Publisher
from stream.publishing.subscriber import Subscriber
from stream.publishing.wire import Gap, Heartbeat, Message, SessionEvent, now, pack, split

ANY_PORT = "tcp://127.0.0.1:*"
PATIENCE_S = 20.0


def prediction(number: int, session: str = "s") -> Prediction:
    return Prediction(
        result=Result(
            session=session, kind="window", start_ns=number, end_ns=number + 1, revision=1, status="final", reason="window"
        )
    )


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher(ANY_PORT) as publisher:
        yield publisher


def subscribe(publisher: Publisher, session: str | None = None, **options: bool) -> Subscriber:
    return Subscriber(publisher.endpoint, session, PATIENCE_S, **options)


class Background:
    """Collects a subscriber's messages on a thread until its sessions have ended."""

    def __init__(self, subscriber: Subscriber) -> None:
        self.messages: list[Message | Gap] = []
        self._subscriber = subscriber
        self._thread = threading.Thread(target=lambda: self.messages.extend(subscriber.messages()))
        self._thread.start()

    def join(self) -> list[Message | Gap]:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self._subscriber.close()
        return self.messages


def starts(messages: list[Message | Gap]) -> list[int]:
    return [m.body.result.start_ns for m in messages if isinstance(m, Message) and isinstance(m.body, Prediction)]


def end(publisher: Publisher, session: str = "s") -> None:
    publisher.publish(SessionEvent(session=session, event="ended", summary={"cut": None}))


def test_everything_arrives_in_order_with_its_header(publisher: Publisher) -> None:
    receiver = Background(subscribe(publisher, until_ended=True))
    assert publisher.wait_for_subscriber(PATIENCE_S)
    publisher.publish(SessionEvent(session="s", event="started"))
    for number in range(500):
        publisher.publish(prediction(number))
    end(publisher)
    messages = receiver.join()
    assert starts(messages) == list(range(500))
    headers = [m.header for m in messages if isinstance(m, Message) and isinstance(m.body, Prediction)]
    assert [h.sequence for h in headers] == list(range(1, 501))
    assert {h.publisher_epoch for h in headers} == {publisher.epoch}
    assert isinstance(messages[-1], Message)
    assert messages[-1].body == SessionEvent(session="s", event="ended", summary={"cut": None})
    assert messages[-1].header.global_sequence == 502


def test_a_subscriber_in_another_process(publisher: Publisher) -> None:
    code = (
        "import sys; from stream.publishing.subscriber import Subscriber; from stream.prediction import encode\n"
        "with Subscriber(sys.argv[1], 's', 60, until_ended=True) as subscriber:\n"
        "    for prediction in subscriber: sys.stdout.write(encode(prediction).decode() + '\\n')\n"
    )
    receiver = subprocess.Popen([sys.executable, "-c", code, publisher.endpoint], stdout=subprocess.PIPE)
    assert publisher.wait_for_subscriber(60)
    sent = [prediction(number) for number in range(20)]
    for one in sent:
        publisher.publish(one)
    end(publisher)
    publisher.close()
    received, _ = receiver.communicate(timeout=60)
    assert received.splitlines() == [encode(one) for one in sent]
    assert receiver.returncode == 0


def test_who_joins_late_gets_the_newest_first_and_loses_nothing_after_it(publisher: Publisher) -> None:
    early = Background(subscribe(publisher, "s", until_ended=True))
    assert publisher.wait_for_subscriber(PATIENCE_S)
    for number in range(5):
        position = publisher.publish(prediction(number))
    assert publisher.wait_for_acknowledgement(position, PATIENCE_S)
    with subscribe(publisher, "s", until_ended=True) as late:
        messages = late.messages()
        assert next(messages).body == prediction(4)
        publisher.publish(prediction(5))
        end(publisher)
        assert starts(list(messages)) == [5]
        assert late.lost == 0
    assert starts(early.join()) == [0, 1, 2, 3, 4, 5]


def test_who_joins_before_there_is_anything_takes_nothing_from_the_others(publisher: Publisher) -> None:
    first = Background(subscribe(publisher, "s", until_ended=True))
    assert publisher.wait_for_subscriber(PATIENCE_S)
    publisher._outbound.subscribed.clear()
    with subscribe(publisher, "other", until_ended=True) as other:
        assert publisher.wait_for_subscriber(PATIENCE_S)  # and there is nothing of "other" to give
        publisher.publish(prediction(1))
        end(publisher)
        end(publisher, "other")
        assert starts(list(other.messages())) == []
    assert starts(first.join()) == [1]


def test_a_session_that_has_ended_tells_who_joins_later(publisher: Publisher) -> None:
    publisher.publish(prediction(0))
    end(publisher)
    with subscribe(publisher, "s", until_ended=True) as subscriber:
        assert list(subscriber) == [prediction(0)]


def test_one_session_does_not_bring_those_whose_names_begin_alike(publisher: Publisher) -> None:
    receiver = Background(subscribe(publisher, "a", until_ended=True))
    assert publisher.wait_for_subscriber(PATIENCE_S)
    publisher.publish(prediction(1, "ab"))
    end(publisher, "ab")
    publisher.publish(prediction(2, "a"))
    end(publisher, "a")
    assert starts(receiver.join()) == [2]


def test_without_a_session_iterating_ends_with_the_last_of_those_seen(publisher: Publisher) -> None:
    receiver = Background(subscribe(publisher, until_ended=True))
    assert publisher.wait_for_subscriber(PATIENCE_S)
    publisher.publish(prediction(1, "a"))
    publisher.publish(prediction(2, "b"))
    end(publisher, "a")
    publisher.publish(prediction(3, "b"))
    publisher.publish(SessionEvent(session="b", event="failed", detail="why"))
    assert starts(receiver.join()) == [1, 2, 3]


def test_a_full_queue_drops_without_blocking_and_the_gap_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher_module, "QUEUED", 20)
    with Publisher(ANY_PORT) as publisher:
        subscriber = subscribe(publisher, "s", until_ended=True)
        receiver = Background(subscriber)
        assert publisher.wait_for_subscriber(PATIENCE_S)
        gate, entered, drained = threading.Event(), threading.Event(), threading.Event()
        send, expected = publisher._outbound.send, 0

        def stalled(frames: list[bytes], sequence: int) -> None:
            nonlocal expected
            entered.set()
            gate.wait(PATIENCE_S)
            send(frames, sequence)
            expected -= 1
            if not expected:
                drained.set()

        monkeypatch.setattr(publisher._outbound, "send", stalled)
        publisher.publish(prediction(0))
        assert entered.wait(PATIENCE_S)
        sent = 1
        while publisher.dropped < 10:
            publisher.publish(prediction(sent))
            sent += 1
        expected = sent - 10
        gate.set()
        assert drained.wait(PATIENCE_S)
        publisher.publish(prediction(sent))  # now the gap can be seen
        end(publisher)
        received = starts(receiver.join())
        assert received == sorted(received)
        assert (received[0], received[-1]) == (0, sent)
        assert len(received) + publisher.dropped == sent + 1
        assert subscriber.lost == publisher.dropped == 10


def test_publishing_from_several_threads_leaves_no_gap(publisher: Publisher) -> None:
    subscriber = subscribe(publisher, "s", until_ended=True)
    receiver = Background(subscriber)
    assert publisher.wait_for_subscriber(PATIENCE_S)

    def publish(base: int) -> None:
        for number in range(base, base + 100):
            publisher.publish(prediction(number))

    threads = [threading.Thread(target=publish, args=(base,)) for base in range(0, 400, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    end(publisher)
    assert sorted(starts(receiver.join())) == list(range(400))
    assert subscriber.lost == 0


def test_closing_sends_what_is_queued_and_twice_is_once() -> None:
    publisher = Publisher(ANY_PORT)
    receiver = Background(subscribe(publisher, "s", until_ended=True))
    assert publisher.wait_for_subscriber(PATIENCE_S)
    for number in range(900):
        publisher.publish(prediction(number))
    end(publisher)
    publisher.close()
    publisher.close()
    assert starts(receiver.join()) == list(range(900))
    with pytest.raises(PublishingError, match="closed"):
        publisher.publish(prediction(0))


def test_nobody_subscribes_in_time(publisher: Publisher) -> None:
    assert not publisher.wait_for_subscriber(0)


def test_hostile_requests_change_nothing(publisher: Publisher) -> None:
    context = zmq.Context()
    hostile = context.socket(zmq.XSUB)
    hostile.connect(publisher.endpoint)
    for frames in ([b"\x01prediction/s", b"more"], [b"\x02"], [b""], [b"\x00never"], [b"\x01" + b"x" * 100_000], [b"\xff" * 9]):
        hostile.send_multipart(frames)
    receiver = Background(subscribe(publisher, "s", until_ended=True))
    assert publisher.wait_for_subscriber(PATIENCE_S)
    publisher.publish(prediction(7))
    end(publisher)
    assert starts(receiver.join()) == [7]
    context.destroy(linger=0)


@pytest.mark.parametrize("session", ["", "x" * 200, "a\nb", "\ud800"])
def test_a_session_needs_a_name_that_fits_a_topic(publisher: Publisher, session: str) -> None:
    with pytest.raises(InputError, match="session name"):
        publisher.publish(prediction(0, session))


def test_a_taken_port_is_one_line(publisher: Publisher) -> None:
    with pytest.raises(EndpointError, match=r"in use; choose another one") as caught:
        Publisher(publisher.endpoint)
    assert publisher.endpoint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_taken_ipc_path_is_not_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Publisher("ipc://here"), pytest.raises(EndpointError, match="in use"):
        Publisher("ipc://here")


def test_an_ipc_path_left_behind_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind("here")
    assert Path("here").exists()
    with Publisher("ipc://here") as publisher, subscribe(publisher) as subscriber:
        assert publisher.wait_for_subscriber(PATIENCE_S)
        publisher.publish(prediction(3))
        assert next(iter(subscriber)) == prediction(3)


def test_a_file_in_the_way_is_kept(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("precious")
    with pytest.raises(EndpointError, match="a file of another kind"):
        Publisher(f"ipc://{notes}")
    assert notes.read_text() == "precious"


@pytest.mark.parametrize(
    "endpoint", ["tcp://0.0.0.0:5556", "tcp://*:5556", "tcp://192.0.2.1:5556", "tcp://[::]:5556", "tcp://eth0:1"]
)
def test_other_machines_are_refused(endpoint: str) -> None:
    with pytest.raises(EndpointError, match="needs keys"):
        Publisher(endpoint)


@pytest.mark.parametrize(
    "endpoint", ["", "nonsense", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:x", "tcp://127.0.0.1:99999", "udp://127.0.0.1:1"]
)
def test_malformed_addresses_are_refused(endpoint: str) -> None:
    with pytest.raises(EndpointError, match=r"expected tcp://127\.0\.0\.1:PORT or ipc://PATH"):
        Publisher(endpoint)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match="no such folder"):
        Publisher(f"ipc://{tmp_path}/none/here")


@pytest.mark.parametrize("endpoint", ["", "nonsense", "tcp://", "tcp://127.0.0.1:x"])
def test_a_subscriber_refuses_malformed_addresses(endpoint: str) -> None:
    with pytest.raises(EndpointError):
        Subscriber(endpoint)


def test_a_forgotten_subscriber_is_collected() -> None:
    # Within a circle: its parts are then finalised in any order. It used to wait for ever, in whatever code was running.
    code = (
        "import gc; from stream.publishing.subscriber import Subscriber\n"
        "forgotten = [Subscriber('tcp://127.0.0.1:1')]; forgotten.append(forgotten)\n"
        "del forgotten; gc.collect()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_subscriber_that_closes_while_it_connects_does_not_wait_for_ever(publisher: Publisher) -> None:
    code = (
        "import sys; from stream.publishing.subscriber import Subscriber\nfor _ in range(300): Subscriber(sys.argv[1]).close()"
    )
    subprocess.run([sys.executable, "-c", code, publisher.endpoint], check=True, timeout=60)


def test_localhost_is_loopback() -> None:
    with Publisher("tcp://localhost:*") as publisher:
        assert publisher.endpoint.startswith("tcp://127.0.0.1:")


def test_silence_raises_after_the_timeout(publisher: Publisher) -> None:
    with Subscriber(publisher.endpoint, timeout=0) as subscriber, pytest.raises(PublishingError, match="nothing for 0 s"):
        next(iter(subscriber))


class Foreign:
    """A publisher that sends whatever it is told to, once its subscriber is there."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self._outbound = self._context.socket(zmq.XPUB)
        self._outbound.bind(ANY_PORT)
        self.subscriber = Subscriber(self._outbound.getsockopt_string(zmq.LAST_ENDPOINT), timeout=PATIENCE_S, until_ended=True)
        for _ in range(3):
            assert self._outbound.poll(1000 * PATIENCE_S)
            self._outbound.recv()

    def receive(self) -> bytes:
        assert self._outbound.poll(1000 * PATIENCE_S)
        return self._outbound.recv()

    def send(self, *messages: list[bytes]) -> None:
        for frames in messages:
            self._outbound.send_multipart(frames)

    def close(self) -> None:
        self.subscriber.close()
        self._context.destroy(linger=0)


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    foreign = Foreign()
    yield foreign
    foreign.close()


def good(sequence: int, epoch: int = 1) -> list[bytes]:
    return pack(prediction(sequence), publisher_epoch=epoch, sequence=sequence, global_sequence=sequence)


def ended(sequence: int = 1, epoch: int = 1) -> list[bytes]:
    return pack(SessionEvent(session="s", event="ended"), publisher_epoch=epoch, sequence=sequence, global_sequence=99)


def test_gaps_are_counted_and_repetitions_left_out(foreign: Foreign) -> None:
    foreign.send(good(3), good(3), good(4), good(7), good(5), good(8), ended())
    assert starts(list(foreign.subscriber.messages())) == [3, 4, 7, 8]
    assert foreign.subscriber.lost == 2


def test_who_hears_nothing_any_more_connects_anew_and_asks_for_the_rest(foreign: Foreign) -> None:
    def beat(sequence: int, number: int) -> list[bytes]:
        heartbeat = Heartbeat(
            version=1, publisher_epoch=1, sequence=sequence, global_sequence=number, published=now(), interval_ms=100
        )
        return [b"heartbeat", msgspec.json.encode(heartbeat)]

    foreign.send(beat(1, 0), good(1))
    with ThreadPoolExecutor() as pool:
        rest = pool.submit(lambda: list(foreign.subscriber.messages()))
        ends = [foreign.receive() for _ in range(3)]
        assert {one[:1] for one in ends} == {b"\0"}
        assert {one[:1] for one in (foreign.receive() for _ in range(3))} == {b"\1"}
        foreign.send(good(2), ended())
        assert starts(rest.result()) == [1, 2]


def test_a_new_publisher_counts_anew(foreign: Foreign) -> None:
    foreign.send(good(8), good(1, epoch=2), good(2, epoch=2), ended(epoch=2))
    assert starts(list(foreign.subscriber.messages())) == [8, 1, 2]
    assert foreign.subscriber.lost == 0


def test_hostile_messages_change_nothing_but_a_counter(foreign: Foreign) -> None:
    topic, frame = good(2)
    header, payload = split(frame)

    def message(topic: bytes, header: bytes, payload: bytes) -> list[bytes]:
        return [topic, header + b"\n" + payload]

    def with_header(**fields: object) -> list[bytes]:
        return message(topic, json.dumps(json.loads(header) | fields).encode(), payload)

    hostile = [
        [topic],
        [topic, header, payload],
        [topic, frame, b""],
        [topic, header + payload],
        message(b"prediction/other", header, payload),
        message(b"prediction/\xff", header, payload),
        message(b"session/s", header, payload),
        message(topic, b"\xff", payload),
        message(topic, b"[" * 100_000, payload),
        message(topic, header, b"{}"),
        message(topic, header, payload[:-1]),
        with_header(version=2),
        with_header(sequence=0),
        with_header(sequence=2**70),
        with_header(sequence="9"),
        with_header(publisher_epoch=-1),
        message(b"session/s", header, b'{"session":"s"}'),
        message(b"session/", header, b'{"session":"","event":"ended"}'),
    ]
    # What has a good header has arrived, whatever its payload; a second one with the same header is a repetition.
    foreign.send(good(1), *hostile, good(3), ended(3))
    assert starts(list(foreign.subscriber.messages())) == [1, 3]
    assert (foreign.subscriber.malformed, foreign.subscriber.lost) == (len(hostile) - 2, 0)


@pytest.mark.parametrize("payload", [b"{}", b"", b"\xff", encode(prediction(3, "other"))])
def test_a_payload_that_is_none_is_counted_once_in_the_midst_of_good_ones(foreign: Foreign, payload: bytes) -> None:
    messages = foreign.subscriber.messages()
    foreign.send(good(1), good(2), good(3))
    taken = [next(messages) for _ in range(3)]  # from the second on each is the expected one
    topic, frame = good(4)
    foreign.send([topic, split(frame)[0] + b"\n" + payload], good(5), ended())
    assert starts([*taken, *messages]) == [1, 2, 3, 5]
    assert (foreign.subscriber.malformed, foreign.subscriber.lost) == (1, 0)


def test_events_of_later_versions_are_passed_on(foreign: Foreign) -> None:
    event = SessionEvent(session="s", event="stream-idle", detail="audio")
    foreign.send(pack(event, publisher_epoch=1, sequence=1, global_sequence=1), ended(2))
    bodies = [m.body for m in foreign.subscriber.messages() if isinstance(m, Message)]
    assert bodies == [event, SessionEvent(session="s", event="ended")]


def test_what_was_last_said_before_a_restart_hides_nothing_said_after_it(tmp_path: Path) -> None:
    with Publisher(ANY_PORT, log=tmp_path) as before:
        for number in range(3):
            before.publish(prediction(number, "a"))
    with Publisher(ANY_PORT, log=tmp_path) as publisher:
        for number in range(5):
            position = publisher.publish(prediction(number, "b"))
        assert publisher.wait_for_acknowledgement(position, PATIENCE_S)
        with subscribe(publisher) as subscriber:
            items = iter(subscriber)
            newest = [next(items), next(items)]
            assert all(one in newest for one in (prediction(2, "a"), prediction(4, "b")))
            publisher.publish(prediction(3, "a"))
            publisher.publish(prediction(4, "a"))
            assert [next(items), next(items)] == [prediction(3, "a"), prediction(4, "a")]
            assert subscriber.lost == 0
            assert subscriber.latest() == {("a", "speech"): prediction(4, "a"), ("b", "speech"): prediction(4, "b")}
