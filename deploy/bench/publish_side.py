"""One side of the publishing bench, in a process of its own: `python -m deploy.bench.publish_side SIDE JSON`.

What it needs to know comes as JSON, what it has measured leaves as a file of arrays; standard input and output carry
the words that keep the sides in step.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec
import numpy as np
import zmq

from stream.prediction import ModalityReport, ModelIdentity, Prediction, Result, SentimentEstimate, Transcript, decode, encode
from stream.publishing.keys import Authorised, public_key, secret_key
from stream.publishing.publisher import Publisher
from stream.publishing.subscriber import Subscriber
from stream.publishing.wire import Gap, SessionEvent

SESSIONS = 10
WARM_UP = "warm-up"
WARM_UP_S = 0.05
END_S = 1.0
"""Between the last message and the word that it was the last, for queues to empty."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """What a side needs to know."""

    endpoint: str
    out: str
    own: bool = True
    rate: float = 1_000.0
    messages: int = 0
    threads: int = 1
    keys: str | None = None
    key: str = "subscriber-0"
    """Of those, the subscribing process's own: a key's limits are for the subscribers of one owner."""
    log: str | None = None
    first: int = 0


def predictions(first: int, number: int) -> list[Prediction]:
    """Distinct segments of about a kilobyte each; `start_ns` is the message's number."""
    words = "It was the best of times, it was the worst of times, it was the age of wisdom"
    emotions = {"neutral": 0.4, "joy": 0.3, "sadness": 0.1, "anger": 0.05, "surprise": 0.05, "fear": 0.05, "disgust": 0.05}
    template = Result(
        session="s",
        kind="utterance",
        start_ns=0,
        end_ns=0,
        start_time="2026-01-01T00:00:00.000000Z",
        end_time="2026-01-01T00:00:02.000000Z",
        revision=3,
        status="final",
        reason="silence",
        sentiment=SentimentEstimate(value=1.25, low=-0.5, high=2.75, level=0.8),
        polarity="positive",
        emotions=emotions,
        valence=0.31,
        arousal=-0.12,
        transcript=Transcript(text=words, origin="moonshine-tiny-en", log_probability=-0.3),
        modalities={
            name: ModalityReport(state="present", coverage=0.99, weight=share)
            for name, share in (("text", 0.5), ("audio", 0.3), ("video", 0.2))
        },
        model=ModelIdentity(name="bench", digest="0" * 64, licence="any"),
    )
    return [
        Prediction(result=msgspec.structs.replace(template, session=f"s{i % SESSIONS}", start_ns=i, end_ns=i + 1))
        for i in range(first, first + number)
    ]


class _OwnOut:
    def __init__(self, side: Side) -> None:
        keys = None if side.keys is None else Path(side.keys)
        self.publisher = Publisher(
            side.endpoint,
            log=None if side.log is None else Path(side.log),
            key=None if keys is None else secret_key(keys / "publisher.key"),
            authorised=None if keys is None else Authorised(keys / "authorised"),
        )
        self.endpoint = self.publisher.endpoint
        self.send = self.publisher.publish

    def warm_up(self) -> None:
        self.send(SessionEvent(session=WARM_UP, event="started"))

    def end(self) -> None:
        self.send(SessionEvent(session=WARM_UP, event="ended"))

    def close(self) -> None:
        self.publisher.close()


class _BareOut:
    def __init__(self, side: Side) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.set_hwm(100_000)
        if side.keys is not None:
            self._socket.curve_server = True
            self._socket.curve_secretkey = secret_key(Path(side.keys) / "publisher.key").secret.encode()
        self._socket.bind(side.endpoint)
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def send(self, prediction: Prediction) -> None:
        self._socket.send_multipart([b"prediction/" + prediction.result.session.encode(), encode(prediction)])

    def warm_up(self) -> None:
        self._socket.send_multipart([b"session/", b""])

    def end(self) -> None:
        self._socket.send_multipart([b"session/", b"end"])

    def close(self) -> None:
        self._socket.close(linger=2_000)
        self._context.term()


def publish(side: Side) -> None:
    """Sends at the stated rate, whoever keeps up or not; measures when each message was handed over."""
    bodies = predictions(side.first, side.messages)
    out = _OwnOut(side) if side.own else _BareOut(side)
    _say(out.endpoint)
    going, ended = threading.Event(), threading.Event()

    def listen() -> None:
        sys.stdin.readline()
        going.set()
        sys.stdin.read()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    while not going.wait(WARM_UP_S):
        out.warm_up()
    sent = np.zeros(len(bodies), np.int64)
    before_s = time.process_time()
    began = time.monotonic_ns()
    for index, body in enumerate(bodies):
        due = began + int(index * 1e9 / side.rate)
        ahead = due - time.monotonic_ns()
        if ahead > 0:
            time.sleep(ahead / 1e9)
        sent[index] = time.monotonic_ns()
        out.send(body)
        if side.log is not None and index % 50 == 0 and isinstance(out, _OwnOut):
            _say(str(out.publisher.acknowledged.global_sequence))
    time.sleep(END_S)
    out.end()
    ended.wait()
    cpu_s = time.process_time() - before_s
    out.close()
    np.savez(side.out, sent=sent, cpu_s=cpu_s)


def _own_messages(side: Side) -> Iterator[Prediction | Gap | None]:
    keys = None if side.keys is None else Path(side.keys)
    with Subscriber(
        side.endpoint,
        key=None if keys is None else secret_key(keys / f"{side.key}.key"),
        publisher_key=None if keys is None else public_key(keys / "publisher.pub"),
    ) as subscriber:
        for message in subscriber.messages():
            if isinstance(message, Gap):
                yield message
            elif isinstance(message.body, Prediction):
                yield message.body
            elif message.body.event == "ended":
                return
            else:
                yield None


def _bare_messages(side: Side) -> Iterator[Prediction | Gap | None]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    with context.socket(zmq.SUB) as inbound:
        inbound.set_hwm(100_000)
        if side.keys is not None:
            keys = Path(side.keys)
            own, publisher = secret_key(keys / f"{side.key}.key"), public_key(keys / "publisher.pub")
            inbound.curve_publickey, inbound.curve_secretkey = own.public.encode(), own.secret.encode()
            inbound.curve_serverkey = publisher.public.encode()
        for prefix in ("prediction/", "session/"):
            inbound.subscribe(prefix)
        inbound.connect(side.endpoint)
        while True:
            topic, payload = inbound.recv_multipart()
            if topic != b"session/":
                yield decode(payload)
            elif payload:
                return
            else:
                yield None


def subscribe(side: Side) -> None:
    """Receives on as many threads as told; measures when each message came, and which were told as missing."""
    came = np.zeros((side.threads, side.messages), np.int64)
    gaps: list[tuple[int, int]] = []
    ready = threading.Barrier(side.threads + 1)
    cpu: list[float] = []

    def receive(row: int) -> None:
        warm, numbers = False, count()
        for message in _own_messages(side) if side.own else _bare_messages(side):
            if not warm:
                warm = True
                ready.wait()
            if isinstance(message, Gap):
                gaps.append((message.count or 0, time.monotonic_ns()))
            elif message is not None and message.result.start_ns < side.messages:
                if next(numbers) == 0 and not cpu:
                    cpu.append(time.process_time())
                came[row, message.result.start_ns] = time.monotonic_ns()

    threads = [threading.Thread(target=receive, args=(row,)) for row in range(side.threads)]
    for thread in threads:
        thread.start()
    ready.wait()
    _say("ready")
    for thread in threads:
        thread.join()
    cpu_s = time.process_time() - (cpu[0] if cpu else 0.0)
    np.savez(side.out, came=came, gaps=np.array(gaps, np.int64).reshape(-1, 2), cpu_s=cpu_s)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    {"publish": publish, "subscribe": subscribe}[sys.argv[1]](msgspec.json.decode(sys.argv[2], type=Side))
