"""A publisher and a subscriber on two hosts, with keys, over a line that delays, loses and is cut."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from two_hosts import ADDRESSES, Line, two_hosts

from stream.publishing.keys import new_key

PATIENCE_S = 60.0
PUBLISHER, SUBSCRIBER = 0, 1
ENDPOINT = f"tcp://{ADDRESSES[PUBLISHER]}:5556"
PUBLISH = """
import sys
from pathlib import Path
from stream.prediction import Prediction, Result
from stream.publishing import Publisher
from stream.publishing.keys import Authorised, secret_key
from stream.publishing.ring import RingLimits
from stream.publishing.wire import SessionEvent
endpoint, keys, kept = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
key, authorised = secret_key(keys / "publisher.key"), Authorised(keys / "authorised")
with Publisher(endpoint, key=key, authorised=authorised, limits=RingLimits(messages=kept), linger_ms=20_000) as publisher:
    print("there", flush=True)
    for line in sys.stdin:
        if line == "end\\n":
            publisher.publish(SessionEvent(session="s", event="ended"))
            continue
        for n in range(*map(int, line.split())):
            result = Result(session="s", kind="window", start_ns=n, end_ns=n + 1, revision=1, status="final", reason="window")
            position = publisher.publish(Prediction(result=result))
        publisher.wait_for_acknowledgement(position)
        print("acknowledged", flush=True)
"""
RECEIVE = """
import sys
from pathlib import Path
from stream.publishing import BEGINNING, Gap, Subscriber
from stream.publishing.keys import public_key, secret_key
keys = Path(sys.argv[2])
key, publisher_key = secret_key(keys / "subscriber.key"), public_key(keys / "publisher.pub")
with Subscriber(
    sys.argv[1], "s", 60, until_ended=True, max_age=None, since=BEGINNING, key=key, publisher_key=publisher_key
) as subscriber:
    for item in subscriber:
        if isinstance(item, Gap):
            print(item.topic, item.first - 1, item.last, item.reason, flush=True)
        else:
            print(item.result.start_ns, flush=True)
"""


class Sides:
    """The two processes and what the subscriber says."""

    def __init__(self, publisher: subprocess.Popen[str], subscriber: subprocess.Popen[str]) -> None:
        self._publisher = publisher
        self._subscriber = subscriber
        self.received: list[int] = []
        self.gaps: list[tuple[str, int, int, str]] = []

    def publish(self, first: int, last: int) -> None:
        """Publishes those from `first` to before `last`; the publisher has sent them when this returns."""
        assert self._publisher.stdin is not None
        self._publisher.stdin.write(f"{first} {last}\n")
        self._publisher.stdin.flush()
        assert line_of(self._publisher) == "acknowledged"

    def take(self, number: int) -> None:
        """Waits for so many lines of the subscriber."""
        for _ in range(number):
            self._note(line_of(self._subscriber))

    def finish(self) -> None:
        """The session ends, and the publisher with it, while much is still on its way."""
        assert self._publisher.stdin is not None
        assert self._subscriber.stdout is not None
        self._publisher.stdin.write("end\n")
        self._publisher.stdin.close()
        for line in self._subscriber.stdout:
            self._note(line.strip())
        assert (self._publisher.wait(PATIENCE_S), self._subscriber.wait(PATIENCE_S)) == (0, 0)

    def _note(self, line: str) -> None:
        if line.isdigit():
            self.received.append(int(line))
        else:
            topic, first, last, reason = line.split()
            self.gaps.append((topic, int(first), int(last), reason))
            self.received.extend(range(int(first), int(last)))  # accounted for in its place


def line_of(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    line = running.stdout.readline().strip()
    assert line, "the process has ended"
    return line


@contextmanager
def on(host: str, code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    command = ["ip", "netns", "exec", host, sys.executable, "-c", code, *arguments]
    running = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


@contextmanager
def sides(line: Line, keys: Path, *, kept: int = 65_536) -> Iterator[Sides]:
    with (
        on(line.hosts[PUBLISHER], PUBLISH, ENDPOINT, str(keys), str(kept)) as publisher,
        on(line.hosts[SUBSCRIBER], RECEIVE, ENDPOINT, str(keys)) as subscriber,
    ):
        assert line_of(publisher) == "there"
        yield Sides(publisher, subscriber)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    for name in ("publisher", "subscriber"):
        new_key(name, tmp_path)
    (tmp_path / "authorised").mkdir()
    shutil.copy(tmp_path / "subscriber.pub", tmp_path / "authorised")
    return tmp_path


def test_over_a_line_that_delays_and_loses_all_comes_in_order(keys: Path) -> None:
    with two_hosts(delay_s=0.05, loss=0.05) as line, sides(line, keys) as both:
        both.publish(0, 1)
        both.take(1)
        for first in range(1, 401, 50):
            both.publish(first, first + 50)
            both.take(10)  # neither far ahead of it nor in step with it
        both.finish()
        assert line.lost
    assert (both.received, both.gaps) == (list(range(401)), [])


@pytest.mark.parametrize(("how", "kept"), [("unnoticed", 65_536), ("link down", 50)])
def test_what_was_sent_during_a_cut_comes_when_the_line_is_back_or_is_told(keys: Path, how: str, kept: int) -> None:
    with two_hosts(delay_s=0.005) as line, sides(line, keys, kept=kept) as both:
        both.publish(0, 20)
        both.take(20)
        if how == "unnoticed":
            line.cut()
        else:
            line.take_down(PUBLISHER)
        both.publish(20, 200)
        line.wait_for_new_connection(SUBSCRIBER)  # it has given the one it had up
        both.publish(200, 300)
        line.mend()
        both.take(1)
        both.finish()
    assert both.received == list(range(300))
    assert both.gaps == ([] if kept > 300 else [("prediction/s", 20, 250, "gone")])


def test_a_cut_that_the_connection_survives_shows_in_nothing(keys: Path) -> None:
    with two_hosts() as line, sides(line, keys) as both:
        both.publish(0, 100)
        both.take(100)
        line.cut()
        both.publish(100, 200)
        line.mend()
        both.take(100)
        both.finish()
    assert (both.received, both.gaps) == (list(range(200)), [])
