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
import resource
import socket
import struct
import termios
from collections.abc import Iterator

import zmq
from zmq.utils import z85

from stream.publishing.accounts import Account, PeerLimits
from stream.publishing.keys import Authorised, Read, SecretKey

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

    __slots__ = ("account", "descriptor", "prefixes", "user")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.user = ""
        self.account: Account | None = None
        """Whose limits it is counted to; None until it has said something, since ZeroMQ tells no sooner whose it is."""
        self.prefixes: set[bytes] = set()


class Peers:
    """The connections of one bound socket, each counted to its account."""

    def __init__(self, bound: zmq.Socket[bytes], access: Access) -> None:
        self.refused = 0
        """Connections that did not get in, or had to go since there were too many."""
        self.monitor = bound.get_monitor_socket(_EVENTS)
        self._bound = bound
        self._access = access
        self._peers: dict[int, Peer] = {}

    def __iter__(self) -> Iterator[Peer]:
        return iter(list(self._peers.values()))

    def of(self, frame: zmq.Frame) -> Peer | None:
        """Whose frame it is; None where the connection is gone, or ends now since its key has too many.

        Told apart by descriptor; the monitor has told by now whether that is still the same one.
        """
        self.update()
        try:
            peer = self._peers.get(int(frame.get(zmq.SRCFD)))
        except zmq.ZMQError:  # what is said for one that has gone has no descriptor
            return None
        if peer is not None and peer.account is None:
            peer.user = _user_of(frame)
            peer.account = self._access.account_of(peer.user)
            peer.account.connections += 1
            self._access.silent.pop(peer, None)
            if peer.account.is_over:
                self.refuse(peer)
                return None
        return peer

    def subscribe(self, frame: zmq.Frame, prefix: bytes) -> Peer | None:
        """Who asks for a subscription, which is counted; None as in `of`, or where its key has too many."""
        peer = self.of(frame)
        if peer is not None and peer.account is not None and prefix not in peer.prefixes:
            peer.prefixes.add(prefix)
            peer.account.subscriptions += 1
            if peer.account.is_over:
                self.refuse(peer)
                return None
        return peer

    def unsubscribe(self, frame: zmq.Frame, prefix: bytes) -> None:
        """A subscription that counts no more, where it was one."""
        peer = self.of(frame)
        if peer is not None and peer.account is not None and prefix in peer.prefixes:
            peer.prefixes.remove(prefix)
            peer.account.subscriptions -= 1

    def update(self) -> None:
        """Takes what the monitor has told."""
        while True:
            try:
                event, _ = self.monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            kind, value = struct.unpack("=Hi", event[:6]) if len(event) >= 6 else (0, 0)
            if kind in (zmq.EVENT_ACCEPTED, zmq.EVENT_DISCONNECTED):
                self._forget(value)
                if kind == zmq.EVENT_ACCEPTED:
                    peer = self._peers[value] = Peer(value)
                    self._access.silent[peer] = self
                    self._access.connections += 1
                    self._access.make_room()
            else:
                self.refused += 1

    def end(self, frame: zmq.Frame) -> None:
        """Ends the connection that a frame came by."""
        peer = self.of(frame)
        if peer is not None:
            self.close(peer)

    def refuse(self, peer: Peer) -> None:
        """Ends a connection, and counts that."""
        self.refused += 1
        self.close(peer)

    def close(self, peer: Peer) -> None:
        """Ends a connection. It may come again, and is then looked at anew."""
        # A copy of the descriptor stays what it is while it is looked at, whatever ZeroMQ does meanwhile.
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(peer.descriptor)) as connection:
            connection.shutdown(socket.SHUT_RDWR)
        self._forget(peer.descriptor)

    def unsent(self) -> int:
        """Bytes that the system still holds for those connected: on the way to their machines, or lost on it."""
        return sum(_unsent(descriptor) for descriptor in self._peers)

    def stop(self) -> None:
        """Ends the watching."""
        self._bound.disable_monitor()
        self.monitor.close(linger=0)

    def _forget(self, descriptor: int) -> None:
        peer = self._peers.pop(descriptor, None)
        if peer is None:
            return
        self._access.connections -= 1
        self._access.silent.pop(peer, None)
        if peer.account is not None:
            peer.account.connections -= 1
            peer.account.subscriptions -= len(peer.prefixes)


class Access:
    """Who may read what, and how much. Without keys everybody may read everything; with them ZeroMQ asks about each."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        key: SecretKey | None,
        authorised: Authorised | None,
        limits: PeerLimits | None = None,
    ) -> None:
        self.limits = limits or PeerLimits()
        self.connections = 0
        """Of all sockets."""
        self.silent: dict[Peer, Peers] = {}
        """Connections that have said nothing yet, the oldest first."""
        self._most = min(self.limits.connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._key = key
        self._authorised = authorised
        self._accounts: dict[str, Account] = {}
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

    def account_of(self, user: str) -> Account:
        """What a key has of its limits, also after all its connections have gone; an account of its own without a key."""
        if not user:
            return Account(self.limits)
        return self._accounts.setdefault(user, Account(self.limits))

    def make_room(self) -> None:
        """Ends the connection that has said nothing for longest, where there are too many; that may be the newest."""
        # Nobody can keep others out so: who says something has a key, and that has a limit of its own.
        if self.connections > self._most and self.silent:
            peer, peers = next(iter(self.silent.items()))
            peers.refuse(peer)

    def reload(self) -> bool:
        """Looks whether the keys have changed; whether they had."""
        if self._authorised is None or not self._authorised.reload():
            return False
        left = (user for user, account in self._accounts.items() if not account.connections)
        for user in [user for user in left if self._authorised.read_of(user) is None]:
            del self._accounts[user]
        return True

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
