from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.prediction import Prediction, Result
from stream.publishing.publisher import Publisher
from stream.publishing.wire import SessionEvent

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE_S = 30.0


def prediction(number: int) -> Prediction:
    return Prediction(
        result=Result(
            session="s", kind="window", start_ns=number, end_ns=number + 1, revision=1, status="final", reason="window"
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


def start(example: Path, running: list[subprocess.Popen[str]], endpoint: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(["node", str(example), endpoint, "s"], stdout=subprocess.PIPE, text=True)
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
