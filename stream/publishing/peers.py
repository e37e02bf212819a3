"""Who is connected to a bound socket, what each may read, and the end of a connection.

ZeroMQ hides connections. What it does tell is used: a message names the descriptor that it came by and, with CURVE, the
user that was let in; a monitor tells when descriptors are accepted and closed. A connection is ended by shutting its
descriptor down, upon which ZeroMQ clears up as if the other side had gone.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Iterator

import zmq
from zmq.utils import z85

from stream.publishing.keys import Authorised, Read, SecretKey

REQUESTS_PER_S, REQUESTS_AT_ONCE = 200.0, 100.0
"""Replay requests of one connection; who makes more is told to come later."""
_ZAP_VERSION = b"1.0"
_ZAP_ADDRESS = "inproc://zeromq.zap.01"
_EVENTS = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class Peer:
    """One connection. `user` is its public key in Z85, empty where no keys are asked for."""

    __slots__ = ("allowance", "asked_s", "descriptor", "subscriptions", "user")

    def __init__(self, descriptor: int, user: str) -> None:
        self.descriptor = descriptor
        self.user = user
        self.subscriptions = 0
        self.allowance = 0.0
        """Replay requests that it may still make at `asked_s`."""
        self.asked_s = float("-inf")

    def may_ask(self, now_s: float) -> bool:
        """Whether it may make one more replay request now; that one is counted."""
        self.allowance = min(REQUESTS_AT_ONCE, self.allowance + (now_s - self.asked_s) * REQUESTS_PER_S)
        self.asked_s = now_s
        if self.allowance < 1:
            return False
        self.allowance -= 1
        return True


class Peers:
    """The connections of one bound socket."""

    def __init__(self, bound: zmq.Socket[bytes]) -> None:
        self.refused = 0
        """Connections that did not get in."""
        self.monitor = bound.get_monitor_socket(_EVENTS)
        self._bound = bound
        self._peers: dict[int, Peer] = {}

    def __iter__(self) -> Iterator[Peer]:
        return iter(list(self._peers.values()))

    def of(self, frame: zmq.Frame) -> Peer:
        """Whose frame it is. Told apart by descriptor; the monitor has told by now whether that is still the same one."""
        self.update()
        descriptor = int(frame.get(zmq.SRCFD))
        if descriptor not in self._peers:
            self._peers[descriptor] = Peer(descriptor, _user_of(frame))
        peer = self._peers[descriptor]
        peer.user = peer.user or _user_of(frame)
        return peer

    def update(self) -> None:
        """Takes what the monitor has told."""
        while True:
            try:
                event, _ = self.monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            kind, value = struct.unpack("=Hi", event[:6]) if len(event) >= 6 else (0, 0)
            if kind in (zmq.EVENT_ACCEPTED, zmq.EVENT_DISCONNECTED):
                self._peers.pop(value, None)
                if kind == zmq.EVENT_ACCEPTED:
                    self._peers[value] = Peer(value, "")
            else:
                self.refused += 1

    def close(self, peer: Peer) -> None:
        """Ends a connection. It may come again, and is then looked at anew."""
        # A copy of the descriptor stays what it is while it is looked at, whatever ZeroMQ does meanwhile.
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(peer.descriptor)) as connection:
            connection.shutdown(socket.SHUT_RDWR)
        self._peers.pop(peer.descriptor, None)

    def unsent(self) -> int:
        """Bytes that the system still holds for those connected: on the way to their machines, or lost on it."""
        return sum(_unsent(descriptor) for descriptor in self._peers)

    def stop(self) -> None:
        """Ends the watching."""
        self._bound.disable_monitor()
        self.monitor.close(linger=0)


class Access:
    """Who may read what. Without keys everybody may read everything; with them ZeroMQ asks here about each connection."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], key: SecretKey | None, authorised: Authorised | None) -> None:
        self._key = key
        self._authorised = authorised
        self.questions: zmq.Socket[bytes] | None = None
        if authorised is not None:
            self.questions = context.socket(zmq.ROUTER)
            self.questions.linger = 0
            self.questions.bind(_ZAP_ADDRESS)

    def secure(self, bound: zmq.Socket[bytes]) -> None:
        """Asks a key of whoever connects; before the socket is bound."""
        if self._key is not None:
            bound.curve_server = True
            bound.curve_secretkey = self._key.secret.encode()
            bound.zap_domain = b"affectstream"

    def answer(self) -> None:
        """Answers ZeroMQ's question whether a key gets in (RFC 27)."""
        assert self.questions is not None
        assert self._authorised is not None
        frames = self.questions.recv_multipart()
        if len(frames) < 8 or frames[2] != _ZAP_VERSION:
            return
        route, _, version, request, _, _, _, mechanism, *credentials = frames
        user = ""
        if mechanism == b"CURVE" and len(credentials) == 1 and len(credentials[0]) == 32:
            user = z85.encode(credentials[0]).decode()
        allowed = self._authorised.read_of(user) is not None
        verdict = (b"200", b"OK", user.encode()) if allowed else (b"400", b"not authorised", b"")
        self.questions.send_multipart([route, b"", version, request, *verdict, b""])

    def read_of(self, peer: Peer) -> Read | None:
        """What a connection may read at this moment."""
        return "full" if self._authorised is None else self._authorised.read_of(peer.user)

    def reload(self) -> bool:
        """Looks whether the keys have changed; whether they had."""
        return self._authorised is not None and self._authorised.reload()

    def close(self) -> None:
        """Answers no more."""
        if self.questions is not None:
            self.questions.close(linger=0)


def _unsent(descriptor: int) -> int:
    held = array.array("i", [0])
    with contextlib.suppress(OSError):  # a connection that has just ended, or a system that does not tell
        fcntl.ioctl(descriptor, termios.TIOCOUTQ, held)
    return held[0]


def _user_of(frame: zmq.Frame) -> str:
    try:
        return str(frame.get("User-Id"))
    except (zmq.ZMQError, KeyError, ValueError, UnicodeError):
        return ""
