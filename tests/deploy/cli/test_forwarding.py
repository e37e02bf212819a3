from __future__ import annotations

import socket
import struct
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, StreamRequestHandler, TCPServer
from typing import Any
from unittest.mock import MagicMock

import pytest
from cli_fakes import prediction

from deploy.cli.forwarding import LSL_ENDED, Condition, Lsl, Osc, Outlets, Webhook, osc_message
from stream.errors import InputError
from stream.prediction import Prediction, decode
from stream.publishing.publisher import Publisher
from stream.publishing.wire import SessionEvent


def test_a_condition_comes_true_once_for_as_long_as_it_holds() -> None:
    condition = Condition("sentiment > 1 for 3s")
    values = [(0, 2, 2.0), (2, 4, 1.5), (4, 6, 2.0), (6, 7, 0.0), (7, 9, 2.0), (9, 10, 2.0)]
    assert [condition.holds(prediction(start, end, value, "a")) for start, end, value in values] == [
        *(False, True, False, False),
        *(False, True),
    ]


def test_sessions_do_not_add_up_and_provisional_ones_do_not_count() -> None:
    condition = Condition("sentiment>=1 for 3 s")
    assert not condition.holds(prediction(0, 2, 2.0, "a", session="x"))
    assert not condition.holds(prediction(2, 4, 2.0, "a", session="y"))
    assert not condition.holds(prediction(2, 9, 2.0, "a", session="x", status="provisional"))
    assert condition.holds(prediction(2, 4, 2.0, "a", session="x"))


@pytest.mark.parametrize(
    "text", ["", "arousal", "mood > 1", "arousal > x", "arousal = 1", "arousal > 1 for 3m", "__class__ > 1"]
)
def test_what_is_no_condition_is_told(text: str) -> None:
    with pytest.raises(InputError, match="condition"):
        Condition(text)


def test_an_osc_message_is_padded_to_fours_as_the_specification_has_it() -> None:
    expected = b"/abc\0\0\0\0" + b",sf\0" + b"clip\0\0\0\0" + struct.pack(">f", 0.5)
    assert osc_message("/abc", "clip", 0.5) == expected


def test_osc_sends_what_is_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(20)
        osc = Osc(f"127.0.0.1:{receiver.getsockname()[1]}")
        osc.send(prediction(0, 2, 1.5, "a"))
        osc.close()
        received = [receiver.recv(999) for _ in range(5)]
    assert [r.split(b"\0")[0].rpartition(b"/")[2].decode() for r in received] == [
        *("sentiment", "valence", "arousal"),
        *("neutral", "joy"),
    ]
    assert struct.unpack(">f", received[0][-4:]) == (1.5,)


@contextmanager
def server(handler: type[BaseRequestHandler]) -> Iterator[int]:
    """Its port."""
    with TCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_webhook_gets_what_makes_its_condition_true_and_survives_whatever_a_server_answers() -> None:
    bodies: list[Prediction] = []
    answers = [
        b"HTTP/1.1 204 None",
        b"HTTP/1.1 500 Broken",
        b"nonsense",
        b"",
        b"HTTP/1.1 302 X\r\nLocation: http://[",
        b"HTTP/1.1 204 -",
    ]

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            length = 0
            while line := self.rfile.readline().strip():
                name, _, value = line.partition(b": ")
                length = int(value) if name.lower() == b"content-length" else length
            bodies.append(decode(self.rfile.read(length)))
            self.wfile.write(answers[len(bodies) - 1] + b"\r\n\r\n")

    with server(Handler) as port:
        webhook = Webhook(f"http://127.0.0.1:{port}/", Condition("sentiment > 1"))
        sent = [prediction(n, n + 1, 1.5 if n % 2 else 0.5, "a") for n in range(2 * len(answers))]
        for one in sent:
            webhook.send(one)
        webhook.close()
    assert bodies == sent[1::2]
    assert webhook.failures.count == 4
    assert "500" in (webhook.failures.first or "")


@pytest.mark.parametrize("url", ["", "ftp://x/", "http://", "http://[", "http://x:99999/", "file:///etc/passwd"])
def test_what_is_no_address_for_a_webhook_is_told(url: str) -> None:
    with pytest.raises(InputError, match="webhook"):
        Webhook(url, Condition("sentiment > 1"))


class FakeLsl(types.ModuleType):
    """Lab Streaming Layer that refuses the outlets of some sessions."""

    IRREGULAR_RATE, cf_float32 = 0.0, 1

    def __init__(self) -> None:
        super().__init__("pylsl")
        self.open: dict[str, list[list[float]]] = {}

    class StreamInfo:
        def __init__(self, name: str, *_: object) -> None:
            self.name = name

        def desc(self) -> Any:
            return MagicMock()

    def StreamOutlet(self, info: StreamInfo) -> Any:  # noqa: N802
        if "refused" in info.name:
            raise RuntimeError("could not create stream outlet.")
        samples = self.open.setdefault(info.name, [])
        outlet = MagicMock()
        outlet.push_sample = samples.append
        return outlet


@pytest.fixture
def lsl(monkeypatch: pytest.MonkeyPatch) -> FakeLsl:
    module = FakeLsl()
    monkeypatch.setitem(sys.modules, "pylsl", module)
    return module


def test_an_outlet_that_fails_is_told_once_and_the_others_go_on(lsl: FakeLsl) -> None:
    lines: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(20)
        forbidden = Osc("255.255.255.255:9")  # a broadcast, which the system refuses
        fine = Osc(f"127.0.0.1:{receiver.getsockname()[1]}")
        with Outlets([Lsl(), forbidden, fine], lines.append) as outlets:
            for session in ("refused", "taken", "refused"):
                outlets.send(prediction(0, 2, 1.5, "a", session=session))
            assert [len(samples) for samples in lsl.open.values()] == [1]
            outlets.forget("taken")
        received = [receiver.recv(999) for _ in range(3 * 5)]
    assert len(received) == 15
    assert [line.partition(":")[0] for line in lines] == ["Lab Streaming Layer", "OSC 255.255.255.255"]
    assert "could not create stream outlet" in lines[0]
    assert forbidden.failures.count == 15
    assert fine.failures.count == 0


def test_outlets_of_sessions_that_have_ended_do_not_add_up(lsl: FakeLsl) -> None:
    outlet = Lsl()
    for number in range(3 * LSL_ENDED):
        outlet.send(prediction(0, 2, 1.5, session=f"s{number}"))
        outlet.forget(f"s{number}")
    outlet.forget("never there")
    assert len(outlet._outlets) == LSL_ENDED
    outlet.close()
    assert not outlet._outlets


def test_a_subscription_outlives_its_outlets(affectstream: Callable[..., Any], lsl: FakeLsl) -> None:
    with Publisher("tcp://127.0.0.1:*") as publisher:

        def publish() -> None:
            assert publisher.wait_for_subscriber(20)
            for number in range(3):
                publisher.publish(prediction(number, number + 1, 1.5, "a", session="refused"))
            publisher.publish(SessionEvent(session="refused", event="ended"))

        thread = threading.Thread(target=publish)
        thread.start()
        outlets = ("--lsl", "--osc", "255.255.255.255:9", "--webhook", "http://127.0.0.1:1/x", "--when", "sentiment > 1")
        outcome = affectstream("subscribe", publisher.endpoint, "--json", "--until-ended", "--session", "refused", *outlets)
        thread.join()
    assert outcome.code == 0
    assert [decode(line).result.start_ns for line in outcome.out.splitlines()] == [0, 10**9, 2 * 10**9]
    told = sorted(line for line in outcome.err.splitlines() if not line.startswith("session"))
    assert [line.split(":")[0] for line in told] == ["Lab Streaming Layer", "OSC 255.255.255.255", "webhook http"]
    assert "/x" not in outcome.err
