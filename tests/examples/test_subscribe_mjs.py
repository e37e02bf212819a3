from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from stream.prediction import Prediction, Result
from stream.publishing.keys import Authorised, new_key, secret_key
from stream.publishing.publisher import Publisher
from stream.publishing.ring import RingLimits
from stream.publishing.wire import SessionEvent

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE_S = 30.0


def prediction(number: int, session: str = "s") -> Prediction:
    return Prediction(
        result=Result(
            session=session, kind="window", start_ns=number, end_ns=number + 1, revision=1, status="final", reason="window"
        )
    )


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("node")
    shutil.copytree(EXAMPLES, folder, dirs_exist_ok=True)
    try:
        subprocess.run([npm, "install", "--no-audit", "--no-fund"], cwd=folder, check=True, timeout=90, capture_output=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip("npm can't install the zeromq package")
    return folder / "subscribe.mjs"


@pytest.fixture
def follow(example: Path) -> Iterator[list[subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []
    yield running
    for process in running:
        process.kill()
        process.communicate()


def start(example: Path, running: list[subprocess.Popen[str]], endpoint: str, *more: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(["node", str(example), endpoint, *(more or ("s",))], stdout=subprocess.PIPE, text=True)
    running.append(process)
    return process


def numbers(lines: list[str]) -> list[int]:
    return [line["prediction"]["result"]["start_ns"] for line in map(json.loads, lines) if "prediction" in line]


def test_node_follows_through_a_loss_and_to_the_end(example: Path, follow: list[subprocess.Popen[str]]) -> None:
    with Publisher("tcp://127.0.0.1:*") as publisher:
        process = start(example, follow, publisher.endpoint)
        assert publisher.wait_for_subscriber(PATIENCE_S)
        publisher.publish(prediction(0))
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        lose(publisher, 3)
        for number in range(1, 6):
            publisher.publish(prediction(number))
        publisher.publish(SessionEvent(session="s", event="ended"))
        out, _ = process.communicate(timeout=PATIENCE_S)
    lines += out.splitlines()
    assert numbers(lines) == [0, 1, 2, 3, 4, 5]
    assert not any("gap" in json.loads(line) for line in lines)


def test_node_follows_a_publisher_that_comes_again(example: Path, follow: list[subprocess.Popen[str]], tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Publisher("tcp://127.0.0.1:*", log=log) as publisher:
        endpoint = publisher.endpoint
        process = start(example, follow, endpoint)
        assert publisher.wait_for_subscriber(PATIENCE_S)
        publisher.publish(prediction(0))
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        lose(publisher, 1)
        publisher.publish(prediction(1))  # the last of its epoch, and lost
    with Publisher(endpoint, log=log) as publisher:
        publisher.publish(prediction(2))
        publisher.publish(SessionEvent(session="s", event="ended"))
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert numbers(lines + out.splitlines()) == [0, 1, 2]


def test_node_that_was_stopped_has_everything(example: Path, follow: list[subprocess.Popen[str]]) -> None:
    with Publisher("tcp://127.0.0.1:*") as publisher:
        process = start(example, follow, publisher.endpoint)
        assert publisher.wait_for_subscriber(PATIENCE_S)
        publisher.publish(prediction(0))
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        process.send_signal(signal.SIGSTOP)
        for number in range(1, 8_000):
            position = publisher.publish(prediction(number))
            if number % 1_000 == 0:  # the queue of the publisher itself is not what is tried here
                assert publisher.wait_for_acknowledgement(position, PATIENCE_S)
        publisher.publish(SessionEvent(session="s", event="ended"))
        process.send_signal(signal.SIGCONT)
        out, _ = process.communicate(timeout=PATIENCE_S)
    lines += out.splitlines()
    assert numbers(lines) == list(range(8_000))
    assert not any("gap" in json.loads(line) for line in lines)


@pytest.mark.parametrize("seed", [1, 2])
def test_node_has_or_is_told_each_message_of_each_topic(
    example: Path, follow: list[subprocess.Popen[str]], tmp_path: Path, seed: int
) -> None:
    random, limits, endpoint = Random(seed), RingLimits(messages=60), "tcp://127.0.0.1:*"
    sent: dict[tuple[int, str], int] = {}
    count: Counter[tuple[int, str, int]] = Counter()
    process: subprocess.Popen[str] | None = None
    for epoch in range(3):
        with Publisher(endpoint, log=tmp_path / "log", limits=limits) as publisher:
            endpoint = publisher.endpoint

            def publish(session: str, number: int, of: Publisher = publisher) -> None:
                topic = f"prediction/{session}"
                sent[of.epoch, topic] = sent.get((of.epoch, topic), 0) + 1
                of.publish(prediction(number, session))

            process = process or start(example, follow, endpoint, "")
            assert publisher.wait_for_subscriber(PATIENCE_S)
            publish("first", epoch)
            read(
                process,
                lambda line, wanted=epoch: line.get("prediction", {}).get("result", {}).get("start_ns") == wanted,
                count,
            )
            for number in range(1_000, 1_400):
                if random.random() < 0.05:
                    lose(publisher, random.choice([1, 2, 5, 90]))
                publish(random.choice(["a", "b", f"of-{epoch}-{number // 50}"]), number)
            if epoch == 1:  # the end of which is missed as well
                lose(publisher, 9)
                publish("a", 1_400)
                continue
            beats = publisher._outbound._beats
            while publisher._outbound._beats < beats + 2:  # what is lost at the end of a topic shows in a heartbeat
                threading.Event().wait(0.01)
            for _ in range(100):  # one of which comes
                publisher.publish(SessionEvent(session=f"last-{epoch}", event="ended"))
            read(process, lambda line, wanted=epoch: line.get("event", {}).get("session") == f"last-{wanted}", count)
    assert {one: times for one, times in count.items() if times > 1} == {}
    assert set(count) == {(*topic, n) for topic, last in sent.items() for n in range(1, last + 1)}


def test_node_shows_its_key(example: Path, follow: list[subprocess.Popen[str]], tmp_path: Path) -> None:
    for name in ("publisher", "alice"):
        new_key(name, tmp_path)
    (tmp_path / "authorised").mkdir()
    shutil.copy(tmp_path / "alice.pub", tmp_path / "authorised")
    key, authorised = secret_key(tmp_path / "publisher.key"), Authorised(tmp_path / "authorised")
    with Publisher("tcp://127.0.0.1:*", key=key, authorised=authorised) as publisher:
        files = str(tmp_path / "alice.key"), str(tmp_path / "publisher.pub")
        process = start(example, follow, publisher.endpoint, "s", *files)
        publisher.publish(prediction(0))
        publisher.publish(SessionEvent(session="s", event="ended"))
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert numbers(out.splitlines()) == [0]


def read(process: subprocess.Popen[str], last: Callable[[Any], bool], count: Counter[tuple[int, str, int]]) -> None:
    """Counts predictions that have come, and those told to be missing, until a line is the last."""
    assert process.stdout is not None
    for text in process.stdout:
        line = json.loads(text)
        if "header" in line and "prediction" in line:
            header = line["header"]
            count[header["publisher_epoch"], f"prediction/{line['prediction']['result']['session']}", header["sequence"]] += 1
        elif (gap := line.get("gap")) is not None and gap["topic"].startswith("prediction/"):
            count.update((gap["publisher_epoch"], gap["topic"], n) for n in range(gap["first"], gap["last"] + 1))
        if last(line):
            return
    raise AssertionError("it has ended")


def lose(publisher: Publisher, number: int) -> None:
    """The next messages are kept by the publisher and do not reach anybody."""
    outbound = publisher._outbound
    send = outbound.send

    def lost(frames: list[bytes], sequence: int) -> None:
        nonlocal number
        if number:
            number -= 1
            outbound._changed[frames[0]] = sequence
        else:
            send(frames, sequence)

    outbound.send = lost  # type: ignore[method-assign]
