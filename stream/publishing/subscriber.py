"""The subscriber: typed predictions off a publisher, and what was missed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType

import zmq

from stream.errors import PublishingError
from stream.prediction import Prediction
from stream.publishing.endpoint import refused
from stream.publishing.wire import DEFAULT_ENDPOINT, LARGEST_FRAME, PREDICTIONS, SESSIONS, Message, check_session, unpack

OUTSTANDING = 1_000
"""Messages that wait here before the publisher keeps them, and then loses some."""


class Subscriber:
    """Iterates over the predictions of a publisher, of all sessions or of one; use as a context manager.

    `timeout`: seconds without a message after which iterating raises `PublishingError`; None waits for ever, also for a
    publisher that is not there yet. `until_ended`: iterating ends when the session has ended (without `session`: when
    every session seen has). Raises `EndpointError` where the address is malformed.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        session: str | None = None,
        timeout: float | None = None,
        *,
        until_ended: bool = False,
    ) -> None:
        self.endpoint = endpoint
        self.lost = 0
        """Messages that the sequences say were sent and did not arrive, since the first of each topic."""
        self.malformed = 0
        """Messages that do not follow the protocol; nothing else comes of them."""
        self._session = None if session is None else check_session(session)
        self._timeout = timeout
        self._until_ended = until_ended
        self._newest: dict[tuple[type, str], tuple[int, int]] = {}
        self._open: set[str] = set()
        # The process's own context: one that is freed before its socket, as happens within a circle, waits for it for ever.
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._inbound = context.socket(zmq.SUB)
        self._inbound.set_hwm(OUTSTANDING)
        self._inbound.maxmsgsize = LARGEST_FRAME
        self._inbound.linger = 0
        self._inbound.ipv6 = endpoint.startswith("tcp://[")
        for kind in (PREDICTIONS, SESSIONS):  # predictions first: a session's last one comes before its end
            self._inbound.subscribe(kind + (self._session or ""))
        try:
            self._inbound.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise refused(endpoint, error) from error

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[Prediction]:
        return (message.body for message in self.messages() if isinstance(message.body, Prediction))

    def messages(self) -> Iterator[Message]:
        """Predictions and session events with their headers, each once, in the order in which they come."""
        while True:
            message = self._receive()
            if not self._is_new(message):
                continue
            yield message
            if isinstance(message.body, Prediction):
                self._open.add(message.body.result.session)
            elif not message.body.closes:
                self._open.add(message.body.session)
            else:
                self._open.discard(message.body.session)
                if self._until_ended and not self._open:
                    return

    def close(self) -> None:
        """Disconnects."""
        self._inbound.close(linger=0)

    def _receive(self) -> Message:
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while True:
            left_ms = None if deadline is None else max(0, round((deadline - time.monotonic()) * 1_000))
            if not self._inbound.poll(left_ms):
                raise PublishingError(
                    f"publisher on {self.endpoint}",
                    found=f"nothing for {self._timeout:g} s",
                    expected="predictions",
                    fix="is it running, and is the session's name right?",
                )
            try:
                message = unpack(self._inbound.recv_multipart())
            except PublishingError:
                self.malformed += 1
                continue
            # A prefix is all that ZeroMQ knows: "a" also brings "ab".
            if self._session in (None, _session_of(message)):
                return message

    def _is_new(self, message: Message) -> bool:
        topic = (type(message.body), _session_of(message))
        header = message.header
        epoch, sequence = self._newest.get(topic, (header.publisher_epoch, header.sequence - 1))
        if header.publisher_epoch == epoch:
            if header.sequence <= sequence:  # the last value, once more, after a reconnect
                return False
            self.lost += header.sequence - sequence - 1
        self._newest[topic] = (header.publisher_epoch, header.sequence)
        return True


def _session_of(message: Message) -> str:
    body = message.body
    return body.result.session if isinstance(body, Prediction) else body.session
