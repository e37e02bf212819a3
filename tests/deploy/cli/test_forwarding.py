from __future__ import annotations

import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cli_fakes import prediction

from deploy.cli.forwarding import Condition, Osc, Webhook, osc_message
from stream.errors import InputError
from stream.prediction import Prediction, decode


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


def test_a_webhook_gets_the_prediction_and_a_server_that_fails_is_counted() -> None:
    bodies: list[Prediction] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(decode(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204 if len(bodies) == 1 else 500)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        webhook = Webhook(f"http://127.0.0.1:{server.server_port}/")
        sent = [prediction(0, 2, 1.5, "a"), prediction(2, 4, 1.5, "b")]
        for one in sent:
            webhook.send(one)
        webhook.close()
        server.shutdown()
        thread.join()
    assert bodies == sent
    assert webhook.failed == 1
