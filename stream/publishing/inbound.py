"""A subscriber's sockets: the SUB with the monitor of its connection, and the DEALER that asks for what is missing."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import zmq

from stream.publishing.endpoint import refused, replay_endpoint
from stream.publishing.handshakes import FAILED, refusal
from stream.publishing.keys import PublicKey, SecretKey
from stream.publishing.replay import Request
from stream.publishing.wire import LARGEST_FRAME

OUTSTANDING = 1_000
"""Messages that wait here before the publisher keeps them, and then lets some go, which are asked for later."""
SOCKET_BUFFER = 256 << 10
"""Bytes in the system's buffer, for the same reason as the publisher's."""
DEAD_AFTER_MS = 3_000


class Arrived(NamedTuple):
    """What a wait brought: the frames of a message, those of an answer, and whether the connection is a new one."""

    message: list[bytes] | None
    answer: list[bytes] | None
    reconnected: bool


class Inbound:
    """SUB, its monitor and DEALER. `turn_ms`: how long `receive` waits. Raises `EndpointError` for a malformed address."""

    def __init__(
        self, endpoint: str, prefixes: Sequence[bytes], keys: tuple[SecretKey, PublicKey] | None, *, turn_ms: int
    ) -> None:
        self.is_connected = False
        """Whether it ever was: from then on ZeroMQ connects again by itself."""
        self._endpoint = endpoint
        self._keys = keys
        self._failures = 0
        # The process's own context: one that is freed before its socket, as happens within a circle, waits for it for ever.
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._replay: zmq.Socket[bytes] | None = None
        self._replay_address: str | None = None
        self._sub = self._socket(zmq.SUB)
        self._sub.rcvtimeo = turn_ms
        self._monitor = self._sub.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | FAILED)
        for prefix in prefixes:
            self._sub.subscribe(prefix)
        self._poller = zmq.Poller()
        for readable in (self._sub, self._monitor):
            self._poller.register(readable, zmq.POLLIN)
        try:
            self._sub.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise refused(endpoint, error) from error

    def receive(self) -> list[bytes] | None:
        """The next message's frames, waited for at most a turn; a third of the cost of waiting for all there is."""
        try:
            return self._sub.recv_multipart()
        except zmq.Again:
            return None

    def wait(self, wait_ms: int) -> Arrived:
        """What comes within so long on any socket. Raises `PublishingError` where the publisher refuses the key."""
        ready = dict(self._poller.poll(wait_ms))
        reconnected = self._monitor in ready and self._take_event()
        answer = self._replay.recv_multipart() if self._replay is not None and self._replay in ready else None
        return Arrived(self._sub.recv_multipart() if self._sub in ready else None, answer, reconnected)

    def ask(self, request: Request) -> None:
        """Sends a replay request, where there is somebody to ask; otherwise it is asked again later."""
        if self._replay is not None:
            try:
                self._replay.send(msgspec.json.encode(request), zmq.NOBLOCK)
            except zmq.Again:
                return

    def connect_replay(self, ports: dict[str, int]) -> None:
        """To the ROUTER that belongs to the address subscribed to, by what a heartbeat says."""
        if self._endpoint.startswith("ipc://"):
            address = replay_endpoint(self._endpoint, 0)
        else:
            port = ports.get(self._endpoint.rpartition(":")[2]) or next(iter(ports.values()), None)
            if port is None:
                return
            address = replay_endpoint(self._endpoint, port)
        if address == self._replay_address:
            return
        if self._replay is not None:
            self._poller.unregister(self._replay)
            self._replay.close(linger=0)
        self._replay = self._socket(zmq.DEALER)
        self._replay_address = address
        self._replay.connect(address)
        self._poller.register(self._replay, zmq.POLLIN)

    def reconnect(self) -> None:
        """Leaves connections over which nothing comes any more for new ones; what was waiting in them goes with them."""
        self._sub.disconnect(self._endpoint)
        self._sub.connect(self._endpoint)
        if self._replay is not None:
            self._poller.unregister(self._replay)
            self._replay.close(linger=0)
        self._replay = self._replay_address = None

    def close(self) -> None:
        """Disconnects."""
        if not self._sub.closed:
            # Before its reader closes: ZeroMQ waits for ever to tell a reader that is gone that nothing more follows.
            self._sub.disable_monitor()
        for one in (self._replay, self._monitor, self._sub):
            if one is not None:
                one.close(linger=0)

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
        one.ipv6 = self._endpoint.startswith("tcp://[")
        if self._keys is not None:
            own, publisher = self._keys
            one.curve_publickey, one.curve_secretkey = own.public.encode(), own.secret.encode()
            one.curve_serverkey = publisher.public.encode()
        return one

    def _take_event(self) -> bool:
        event, _ = self._monitor.recv_multipart()
        kind, value = struct.unpack("=Hi", event[:6])
        if kind == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._failures = 0
            again, self.is_connected = self.is_connected, True
            return again
        self._failures += 1
        error = refusal(self._endpoint, kind, value, self._failures, keys=self._keys is not None)
        if error is not None:
            raise error
        return False
