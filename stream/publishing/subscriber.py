"""The subscriber: typed predictions off a publisher, in order and each once, and what was missed."""

from __future__ import annotations

import struct
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import datetime
from types import TracebackType

import msgspec
import zmq

from stream.errors import EndpointError, PublishingError
from stream.prediction import Prediction
from stream.publishing.endpoint import refused, replay_endpoint
from stream.publishing.following import Following, Received
from stream.publishing.keys import PublicKey, SecretKey
from stream.publishing.replay import unpack_answer
from stream.publishing.wire import (
    DEFAULT_ENDPOINT,
    HEARTBEAT,
    LARGEST_FRAME,
    PREDICTIONS,
    REDACTED,
    SESSIONS,
    Gap,
    Header,
    Heartbeat,
    Message,
    Position,
    check_session,
    unpack_body,
    unpack_header,
    unpack_heartbeat,
)

OUTSTANDING = 1_000
"""Messages that wait here before the publisher keeps them, and then lets some go, which are asked for later."""
SOCKET_BUFFER = 256 << 10
"""Bytes in the system's buffer, for the same reason as the publisher's."""
SEGMENTS = 16_384
"""Segments whose newest revision is known, so that one that is published twice comes once; the least recent go first."""
LATEST = 4_096
"""Lanes of sessions in `latest()`."""
DEAD_AFTER_MS = 3_000
TURN_MS = 100
"""At most so long until it is looked whether something has to be asked for, or whether it was closed."""
_HANDSHAKE_FAILED = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
HANDSHAKES = 5
"""Failures in a row after which a publisher that says nothing of why (a wrong key of its own, no publisher) is told."""

Identity = tuple[str, int, str, int]
"""Of a segment: session, source epoch, lane, start_ns."""


class Subscriber:
    """Iterates over the predictions of a publisher, and over a `Gap` for what was missed; use as a context manager.

    `session`: that one alone; `topics`: prefixes other than those of all predictions and session events. `timeout`:
    seconds without a message after which iterating raises `PublishingError`; None waits for ever, also for a publisher
    that is not there yet. `until_ended`: iterating ends when the session has ended (without `session`: when every session
    seen has). `since`: a `position` from before, from which on all is wanted; `BEGINNING` for all that the publisher has.
    `max_age`: seconds after which a message is too old to be had when its turn comes, so that who is too slow is behind
    by that much at most (never for what was sent before this subscriber began); None takes everything. `redacted`:
    predictions without words. `key` and `publisher_key`: where the publisher asks for keys. Raises `EndpointError` where
    the address is malformed; iterating raises `PublishingError` where the publisher refuses the key or what it asks for.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        session: str | None = None,
        timeout: float | None = None,
        *,
        until_ended: bool = False,
        topics: Sequence[str] | None = None,
        since: Position | None = None,
        max_age: float | None = 30.0,
        redacted: bool = False,
        key: SecretKey | None = None,
        publisher_key: PublicKey | None = None,
    ) -> None:
        if (key is None) != (publisher_key is None):
            raise EndpointError("subscriber's keys", found="one of two", expected="its own key and the publisher's public one")
        self.endpoint = endpoint
        self.lost = 0
        """Messages that were sent and can't be had any more, as far as they can be counted."""
        self.malformed = 0
        """Messages that do not follow the protocol; nothing else comes of them."""
        self.position = since
        """Up to where everything has come or been told, as `since` takes it; None before anything is known."""
        self._timeout = timeout
        self._until_ended = until_ended
        self._max_age = max_age
        self._began = time.time()
        self._skew_s: float | None = None
        predictions = REDACTED if redacted else PREDICTIONS
        exact: frozenset[bytes] | None = None
        if topics is None:
            name = "" if session is None else check_session(session)
            # Predictions first: a session's last one comes before its end.
            topics = (predictions + name, SESSIONS + name)
            exact = None if session is None else frozenset(topic.encode() for topic in topics)
        prefixes = tuple(topic.encode() for topic in topics)
        # A prefix is all that ZeroMQ knows: "a" also brings "ab".
        self._following = Following(
            tuple(topics), (lambda t: t.startswith(prefixes)) if exact is None else exact.__contains__, since
        )
        self._revisions: OrderedDict[Identity, tuple[int, str]] = OrderedDict()
        self._latest: OrderedDict[tuple[str, str], Prediction] = OrderedDict()
        self._open: set[str] = set()
        self._failures = 0
        self._closing = False
        # The process's own context: one that is freed before its socket, as happens within a circle, waits for it for ever.
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._keys = None if key is None or publisher_key is None else (key, publisher_key)
        self._replay: zmq.Socket[bytes] | None = None
        self._replay_address: str | None = None
        self._inbound = self._socket(zmq.SUB)
        self._monitor = self._inbound.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | _HANDSHAKE_FAILED)
        self._connected = False
        for prefix in (*prefixes, HEARTBEAT.encode()):
            self._inbound.subscribe(prefix)
        self._poller = zmq.Poller()
        for readable in (self._inbound, self._monitor):
            self._poller.register(readable, zmq.POLLIN)
        try:
            self._inbound.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise refused(endpoint, error) from error

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[Prediction | Gap]:
        for item in self.messages():
            if isinstance(item, Gap):
                yield item
            elif isinstance(item.body, Prediction):
                yield item.body

    def messages(self) -> Iterator[Message | Gap]:
        """Predictions and session events with their headers, each once, in order, and gaps."""
        while (item := self._next()) is not None:
            if isinstance(item, Gap):
                self.lost += item.count or 0
            yield item
            if self._until_ended and isinstance(item, Message) and self._was_last(item):
                return

    def latest(self) -> dict[tuple[str, str], Prediction]:
        """By session and lane, the newest revision of the newest segment, of all that has been iterated over so far."""
        return dict(self._latest)

    def close(self) -> None:
        """Disconnects."""
        self._closing = True
        if not self._inbound.closed:
            # Before its reader closes: ZeroMQ waits for ever to tell a reader that is gone that nothing more follows.
            self._inbound.disable_monitor()
        for one in (self._replay, self._monitor, self._inbound):
            if one is not None:
                one.close(linger=0)

    def stop(self) -> None:
        """Ends iterating within a moment; the one method that another thread may call."""
        self._closing = True

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        one = self._context.socket(kind)
        one.set_hwm(OUTSTANDING)
        one.maxmsgsize = LARGEST_FRAME
        one.rcvbuf = SOCKET_BUFFER
        one.linger = 0
        one.reconnect_ivl = 50
        one.reconnect_ivl_max = 1_000
        one.heartbeat_ivl = DEAD_AFTER_MS // 3
        one.heartbeat_timeout = DEAD_AFTER_MS
        one.ipv6 = self.endpoint.startswith("tcp://[")
        if self._keys is not None:
            own, publisher = self._keys
            one.curve_publickey, one.curve_secretkey = own.public.encode(), own.secret.encode()
            one.curve_serverkey = publisher.public.encode()
        return one

    def _next(self) -> Message | Gap | None:
        """The next thing to tell, None once closed."""
        out = self._following.out
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while not self._closing:
            while out:
                item = out.popleft()
                told = item if isinstance(item, Gap) else self._opened(item)
                if told is not None:
                    return told
            self.position = self._following.position or self.position
            self._take(deadline)
        return None

    def _take(self, deadline: float | None) -> None:
        """Waits for something to come in, and takes it."""
        receive = self._inbound.recv
        try:
            frames = [receive(zmq.NOBLOCK)]
        except zmq.Again:
            pass
        else:
            while self._inbound.getsockopt(zmq.RCVMORE):
                frames.append(receive())
            self._take_published(frames)
            return
        now_s = time.monotonic()
        self._ask(now_s)
        if self._following.out:
            return
        wait_ms = TURN_MS if deadline is None else min(TURN_MS, max(0, round((deadline - now_s) * 1_000)))
        ready = dict(self._poller.poll(wait_ms))
        if self._monitor in ready:
            self._take_event()
        if self._replay is not None and self._replay in ready:
            self._take_answer(self._replay.recv_multipart())
        if not ready and deadline is not None and time.monotonic() >= deadline:
            raise PublishingError(
                f"publisher on {self.endpoint}",
                found=f"nothing for {self._timeout:g} s",
                expected="predictions",
                fix="is it running, and is the session's name right?",
            )

    def _take_published(self, frames: list[bytes]) -> None:
        try:
            if len(frames) == 3:
                self._following.take(Received(frames[0], unpack_header(frames[1]), frames[2]))
            else:
                self._take_heartbeat(unpack_heartbeat(frames))
        except PublishingError:
            self.malformed += 1

    def _take_heartbeat(self, heartbeat: Heartbeat) -> None:
        delay_s = time.time() - _seconds(heartbeat.published)
        self._skew_s = delay_s if self._skew_s is None else min(self._skew_s, delay_s)
        self._connect_replay(heartbeat.replay)
        self._following.take_heartbeat(heartbeat, time.monotonic())
        self._ask(time.monotonic())

    def _connect_replay(self, ports: dict[str, int]) -> None:
        """To the ROUTER that belongs to the address subscribed to."""
        if self.endpoint.startswith("ipc://"):
            address = replay_endpoint(self.endpoint, 0)
        else:
            port = ports.get(self.endpoint.rpartition(":")[2]) or next(iter(ports.values()), None)
            if port is None:
                return
            address = replay_endpoint(self.endpoint, port)
        if address == self._replay_address:
            return
        if self._replay is not None:
            self._poller.unregister(self._replay)
            self._replay.close(linger=0)
        self._replay = self._socket(zmq.DEALER)
        self._replay_address = address
        self._replay.connect(address)
        self._poller.register(self._replay, zmq.POLLIN)

    def _ask(self, now_s: float) -> None:
        request = self._following.request(now_s)
        if request is not None and self._replay is not None:
            try:
                self._replay.send(msgspec.json.encode(request), zmq.NOBLOCK)
            except zmq.Again:
                return  # nobody there to ask: it is tried again

    def _take_answer(self, frames: list[bytes]) -> None:
        try:
            answer, messages = unpack_answer(frames)
            received = [Received(topic, unpack_header(header), payload) for topic, header, payload in messages]
        except PublishingError:
            self.malformed += 1
            return
        self._following.answer(answer, received, time.monotonic())
        if self._following.denied:
            raise PublishingError(
                f"publisher on {self.endpoint}",
                found="this key may not read that",
                expected="a key that may",
                fix="ask for the redacted predictions, or the publisher's owner for more",
            )
        self._ask(time.monotonic())

    def _take_event(self) -> None:
        event, _ = self._monitor.recv_multipart()
        kind, value = struct.unpack("=Hi", event[:6])
        if kind == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._failures = 0
            if self._connected:
                self._following.reconnected()
            self._connected = True
            return
        self._failures += 1
        mismatch = kind == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL and value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
        if kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH or mismatch or self._failures >= HANDSHAKES:
            raise PublishingError(
                f"publisher on {self.endpoint}",
                found="it refuses this key" if self._keys else "it asks for a key",
                expected="a key in its folder of authorised keys",
                fix="affectstream keys new NAME makes one",
            )

    def _opened(self, received: Received) -> Message | Gap | None:
        """The typed message; None where it is malformed or a duplicate, a gap where it is too old."""
        header = received.header
        if self._is_too_old(header):
            return Gap(
                publisher_epoch=header.publisher_epoch,
                topic=received.topic.decode(),
                first=header.sequence,
                last=header.sequence,
                reason="too-old",
            )
        try:
            body = unpack_body(received.topic, received.payload)
        except PublishingError:
            self.malformed += 1
            return None
        if isinstance(body, Prediction):
            if not self._is_new(body):
                return None
        elif body.event == "started":
            for identity in [i for i in self._revisions if i[0] == body.session]:
                del self._revisions[identity]
        return Message(header=header, body=body)

    def _is_too_old(self, header: Header) -> bool:
        if self._max_age is None:
            return False
        published = _seconds(header.published)
        skew_s = self._skew_s or 0.0
        return published + skew_s >= self._began and time.time() - published - skew_s > self._max_age

    def _is_new(self, prediction: Prediction) -> bool:
        """Whether this revision has not been told: a session may hand its finals to a new publisher once more."""
        result = prediction.result
        identity = (result.session, result.source_epoch, result.lane, result.start_ns)
        known = self._revisions.get(identity)
        if known is not None and (result.revision < known[0] or (result.revision, result.status) == known):
            return False
        self._revisions[identity] = (result.revision, result.status)
        if known is not None:
            self._revisions.move_to_end(identity)
        elif len(self._revisions) > SEGMENTS:
            self._revisions.popitem(last=False)
        lane = (result.session, result.lane)
        newest = self._latest.get(lane)
        if newest is None or (newest.result.source_epoch, newest.result.start_ns) <= (result.source_epoch, result.start_ns):
            self._latest[lane] = prediction
            if newest is None and len(self._latest) > LATEST:
                self._latest.popitem(last=False)
        return True

    def _was_last(self, message: Message) -> bool:
        """Whether every session seen has ended."""
        body = message.body
        if isinstance(body, Prediction):
            self._open.add(body.result.session)
        elif not body.closes:
            self._open.add(body.session)
        else:
            self._open.discard(body.session)
            return not self._open
        return False


def _seconds(published: str) -> float:
    try:
        return datetime.fromisoformat(published).timestamp()
    except ValueError:
        return float("-inf")
