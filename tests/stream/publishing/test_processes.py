"""Real processes: a publisher that is killed, subscribers that are stopped, late, or slow."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from stream.prediction import Prediction, Result
from stream.publishing import AsyncSubscriber, Gap, Position, Publisher, Subscriber
from stream.publishing import subscriber as subscriber_module
from stream.publishing.inbound import Inbound
from stream.publishing.wire import BEGINNING, SessionEvent

PATIENCE_S = 60.0
ANY_PORT = "tcp://127.0.0.1:*"
PUBLISH = """
import sys
from pathlib import Path
from stream.prediction import Prediction, Result
from stream.publishing import Publisher
publisher = Publisher(sys.argv[1], log=Path(sys.argv[2]) if sys.argv[2:] else None)
print("there", flush=True)
for line in sys.stdin:
    for n in range(*map(int, line.split())):
        result = Result(session="s", kind="window", start_ns=n, end_ns=n + 1, revision=1, status="final", reason="window")
        position = publisher.publish(Prediction(result=result))
    publisher.wait_for_acknowledgement(position)
    print("acknowledged", flush=True)
"""
RECEIVE = """
import sys
from stream.publishing import Gap, Subscriber
with Subscriber(sys.argv[1], "s", until_ended=True, max_age=None) as subscriber:
    for item in subscriber:
        print("gap" if isinstance(item, Gap) else item.result.start_ns, flush=True)
"""
REMEMBER = """
import os, sys
from pathlib import Path
import msgspec
from stream.publishing import Gap, Position, Subscriber
kept = Path(sys.argv[2])
since = msgspec.json.decode(kept.read_bytes(), type=Position)
with Subscriber(sys.argv[1], "s", until_ended=True, max_age=None, since=since) as subscriber:
    for item in subscriber.messages():
        print("gap" if isinstance(item, Gap) else item.header.global_sequence, flush=True)
        kept.with_suffix(".new").write_bytes(msgspec.json.encode(subscriber.position))
        os.replace(kept.with_suffix(".new"), kept)
"""


def prediction(number: int) -> Prediction:
    fields = {"kind": "window", "start_ns": number, "end_ns": number + 1, "revision": 1, "status": "final", "reason": "window"}
    return Prediction(result=Result(session="s", **fields))


def free_endpoint() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{one.getsockname()[1]}"


@contextmanager
def process(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    running = subprocess.Popen([sys.executable, "-c", code, *arguments], stdin=pipe, stdout=pipe, text=True)
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def line(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    return running.stdout.readline().strip()


def tell(running: subprocess.Popen[str], first: int, last: int) -> None:
    assert running.stdin is not None
    running.stdin.write(f"{first} {last}\n")
    running.stdin.flush()
    assert line(running) == "acknowledged"


def take(items: Iterator[Prediction | Gap], number: int) -> list[int]:
    taken = [next(items) for _ in range(number)]
    return [item.result.start_ns if isinstance(item, Prediction) else -1 for item in taken]


def end(publisher: Publisher) -> None:
    publisher.publish(SessionEvent(session="s", event="ended"))


def test_a_publisher_that_is_killed_and_comes_again_is_followed_without_a_loss(tmp_path: Path) -> None:
    endpoint, log = free_endpoint(), str(tmp_path / "log")
    with process(PUBLISH, endpoint, log) as first, Subscriber(endpoint, "s", PATIENCE_S, since=BEGINNING) as subscriber:
        assert line(first) == "there"
        items = iter(subscriber)
        tell(first, 0, 50)
        assert take(items, 50) == list(range(50))
        tell(first, 50, 100)
        first.kill()
        first.wait()
        with process(PUBLISH, endpoint, log) as second:
            assert line(second) == "there"
            tell(second, 100, 150)
            assert take(items, 100) == list(range(50, 150))
            assert subscriber.lost == 0


def test_a_subscriber_goes_on_from_the_position_that_it_kept() -> None:
    with Publisher(ANY_PORT) as publisher:
        for number in range(10):
            publisher.publish(prediction(number))
        with Subscriber(publisher.endpoint, "s", PATIENCE_S, since=BEGINNING) as before:
            assert take(iter(before), 10) == list(range(10))
        position = Position(publisher.epoch, 7)
        end(publisher)
        with Subscriber(publisher.endpoint, "s", PATIENCE_S, since=position, until_ended=True) as after:
            assert [p.result.start_ns for p in after if isinstance(p, Prediction)] == [7, 8, 9]


def test_a_subscriber_that_is_killed_goes_on_from_the_position_on_its_disk(tmp_path: Path) -> None:
    kept = tmp_path / "position"
    kept.write_bytes(msgspec.json.encode(BEGINNING))
    sent, handled = 0, set[int]()
    with Publisher(ANY_PORT) as publisher:
        for handled_before_it_is_killed in (1, 40, 3, 200):
            for _ in range(500):
                sent = publisher.publish(prediction(sent)).global_sequence
            position = msgspec.json.decode(kept.read_bytes(), type=Position)
            with process(REMEMBER, publisher.endpoint, str(kept)) as receiver:
                numbers = [line(receiver) for _ in range(handled_before_it_is_killed)]
                receiver.kill()
                out, _ = receiver.communicate(timeout=PATIENCE_S)
            numbers += out.split()
            # From the first after what was kept, without a hole: what came twice came after the kept position.
            assert numbers == [str(position.global_sequence + 1 + n) for n in range(len(numbers))]
            handled.update(map(int, numbers))
            assert msgspec.json.decode(kept.read_bytes(), type=Position).global_sequence <= max(handled)
        end(publisher)
        position = msgspec.json.decode(kept.read_bytes(), type=Position)
        with process(REMEMBER, publisher.endpoint, str(kept)) as receiver:
            out, _ = receiver.communicate(timeout=PATIENCE_S)
    assert out.split() == [str(n) for n in range(position.global_sequence + 1, sent + 2)]
    assert handled | set(map(int, out.split())) == set(range(1, sent + 2))


def test_what_a_publisher_without_a_log_took_with_it_is_a_gap_that_nobody_can_count() -> None:
    endpoint = free_endpoint()
    with process(PUBLISH, endpoint) as first, Subscriber(endpoint, "s", PATIENCE_S, since=BEGINNING) as subscriber:
        assert line(first) == "there"
        messages = subscriber.messages()
        tell(first, 0, 50)
        before = [next(messages) for _ in range(50)]
        first.kill()
        first.wait()
        with process(PUBLISH, endpoint) as second:
            assert line(second) == "there"
            tell(second, 50, 100)
            gap, *after = [next(messages) for _ in range(51)]
    assert [m.body.result.start_ns for m in (*before, *after)] == list(range(100))
    first_epoch, second_epoch = before[0].header.publisher_epoch, after[0].header.publisher_epoch
    assert first_epoch < second_epoch
    assert gap == Gap(publisher_epoch=first_epoch, topic=None, first=51, last=None, reason="epoch")
    assert (gap.count, subscriber.lost) == (None, 0)


def test_a_subscriber_that_was_stopped_has_everything() -> None:
    with Publisher(ANY_PORT) as publisher, process(RECEIVE, publisher.endpoint) as receiver:
        assert publisher.wait_for_subscriber(PATIENCE_S)
        publisher.publish(prediction(0))
        assert line(receiver) == "0"
        receiver.send_signal(signal.SIGSTOP)
        number = 1
        for number in range(1, 12_000):
            position = publisher.publish(prediction(number))
            if number % 1_000 == 0:  # the queue of the publisher itself is not what is tried here
                assert publisher.wait_for_acknowledgement(position, PATIENCE_S)
        end(publisher)
        receiver.send_signal(signal.SIGCONT)
        out, _ = receiver.communicate(timeout=PATIENCE_S)
    assert out.split() == [str(n) for n in range(1, 12_000)]


def test_a_publisher_that_was_stopped_is_followed_without_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    again = threading.Event()

    class Watched(Inbound):
        def reconnect(self) -> None:
            super().reconnect()
            again.set()

    monkeypatch.setattr(subscriber_module, "Inbound", Watched)
    monkeypatch.setattr(subscriber_module, "SILENT", 1.5)
    came: list[int] = []
    endpoint = free_endpoint()
    with process(PUBLISH, endpoint) as publisher, Subscriber(endpoint, "s", PATIENCE_S, since=BEGINNING) as subscriber:
        assert line(publisher) == "there"
        items = iter(subscriber)
        tell(publisher, 0, 50)
        assert take(items, 50) == list(range(50))
        publisher.send_signal(signal.SIGSTOP)
        again.clear()
        reader = threading.Thread(target=lambda: came.extend(take(items, 50)))
        reader.start()
        assert again.wait(PATIENCE_S)
        publisher.send_signal(signal.SIGCONT)
        tell(publisher, 50, 100)
        reader.join(PATIENCE_S)
        assert not reader.is_alive()
    assert came == list(range(50, 100))
    assert subscriber.lost == 0


def test_three_speeds_at_once_and_none_holds_another_up() -> None:
    gate = threading.Event()

    def receive(pause: Callable[[int], None], into: list[int], endpoint: str) -> None:
        with Subscriber(endpoint, "s", PATIENCE_S, until_ended=True, max_age=None) as subscriber:
            for item in subscriber:
                into.append(item.result.start_ns if isinstance(item, Prediction) else -1)
                pause(len(into))

    def slow(count: int) -> None:
        if count == 1:
            gate.wait(PATIENCE_S)

    def middling(count: int) -> None:
        if count % 500 == 0:
            threading.Event().wait(0.01)

    received: list[list[int]] = [[], [], []]
    with Publisher(ANY_PORT) as publisher:
        pauses: list[Callable[[int], None]] = [lambda _: None, middling, slow]
        arguments = [(pause, into, publisher.endpoint) for pause, into in zip(pauses, received, strict=True)]
        threads = [threading.Thread(target=receive, args=one) for one in arguments]
        for thread in threads:
            thread.start()
        publisher.publish(prediction(0))
        while not all(received):
            threading.Event().wait(0.01)
        for number in range(1, 5_000):
            position = publisher.publish(prediction(number))
            if number % 500 == 0:
                assert publisher.wait_for_acknowledgement(position, PATIENCE_S)
        end(publisher)
        threads[0].join(PATIENCE_S)  # the fast one is through while the slow one has but begun
        gate.set()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert received == [list(range(5_000))] * 3


def test_who_is_too_slow_is_told_what_was_too_old() -> None:
    with Publisher(ANY_PORT) as publisher:
        with Subscriber(publisher.endpoint, "s", PATIENCE_S, until_ended=True, max_age=-1.0) as subscriber:
            items = subscriber.messages()
            threading.Thread(
                target=lambda: (publisher.wait_for_subscriber(), publisher.publish(prediction(0)), end(publisher))
            ).start()
            first = next(items)
        assert isinstance(first, Gap)
        assert (first.reason, first.topic, first.count) == ("too-old", "prediction/s", 1)


def test_asyncio_gets_the_same(tmp_path: Path) -> None:
    async def follow(endpoint: str) -> list[int]:
        async with AsyncSubscriber(endpoint, "s", timeout=PATIENCE_S, until_ended=True, since=BEGINNING) as subscriber:
            return [item.result.start_ns async for item in subscriber if isinstance(item, Prediction)]

    endpoints = [ANY_PORT, f"ipc://{tmp_path}/socket"]
    with Publisher(endpoints) as publisher:
        for number in range(1_000):
            publisher.publish(prediction(number))
        end(publisher)
        for endpoint in publisher.endpoints:
            assert asyncio.run(follow(endpoint)) == list(range(1_000))
