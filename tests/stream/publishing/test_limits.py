"""What a key may have: over all its connections, and never more by coming again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.publishing.accounts import Account, PeerLimits
from stream.publishing.keys import Authorised, PublicKey, SecretKey, new_key, public_key, secret_key
from stream.publishing.publisher import Publisher
from stream.publishing.wire import SessionEvent

PATIENCE_MS = 20_000
ASKS = {"after": {"publisher_epoch": 0, "global_sequence": 0}, "prefixes": ["session/"]}


class Guarded:
    """A publisher with its limits, and bare sockets of those whose keys it knows."""

    def __init__(self, folder: Path, stack: ExitStack, limits: PeerLimits, *, keys: bool = True) -> None:
        for name in ("publisher", "alice", "bob"):
            new_key(name, folder)
        (folder / "authorised").mkdir()
        for name in ("alice", "bob"):
            shutil.copy(folder / f"{name}.pub", folder / "authorised")
        self._keys = folder if keys else None
        own = secret_key(folder / "publisher.key"), Authorised(folder / "authorised")
        self.publisher = stack.enter_context(
            Publisher("tcp://127.0.0.1:*", key=own[0] if keys else None, authorised=own[1] if keys else None, peers=limits)
        )
        self.publisher.publish(SessionEvent(session="s", event="started"))
        self._stack = stack
        self._context = stack.enter_context(zmq.Context())

    def socket(self, kind: int, name: str, *, connect: bool = True) -> Any:
        """A socket of somebody's, which tells when its connection ends and does not connect again."""
        one = self._stack.enter_context(self._context.socket(kind))
        one.linger = 0
        one.reconnect_ivl = -1
        one.rcvtimeo = PATIENCE_MS
        if self._keys is not None:
            own: SecretKey = secret_key(self._keys / f"{name}.key")
            publisher: PublicKey = public_key(self._keys / "publisher.pub")
            one.curve_publickey, one.curve_secretkey = own.public.encode(), own.secret.encode()
            one.curve_serverkey = publisher.public.encode()
        if connect:
            host, _, port = self.publisher.endpoint.rpartition(":")
            one.connect(f"{host}:{self.publisher._outbound._replay[port] if kind == zmq.DEALER else port}")
        return one

    def listener(self, name: str, *prefixes: str) -> Any:
        """An XSUB that has subscribed and been heard: it has the heartbeat that comes at once."""
        one = self.socket(zmq.XSUB, name)
        for prefix in (*prefixes, "heartbeat"):
            one.send(b"\x01" + prefix.encode())
        return one


def heard(listener: Any) -> bool:
    """Whether it was granted the heartbeat."""
    try:
        while listener.recv_multipart()[0] != b"heartbeat":
            pass
    except zmq.Again:
        return False
    return True


def ask(asker: Any, request: int) -> Any:
    asker.send(msgspec.json.encode(ASKS | {"request": request}))
    return msgspec.json.decode(asker.recv_multipart()[0])


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_requests_of_a_key_are_counted_over_its_connections_and_another_keys_apart(tmp_path: Path, stack: ExitStack) -> None:
    guarded = Guarded(tmp_path, stack, PeerLimits(requests_at_once=3, requests_per_s=0.001))
    first, second, other = (guarded.socket(zmq.DEALER, name) for name in ("alice", "alice", "bob"))
    assert "upto" in ask(first, 1)
    assert "upto" in ask(second, 2)
    assert "upto" in ask(first, 3)
    assert ask(second, 4)["refused"] == "later"
    first.close()
    assert ask(guarded.socket(zmq.DEALER, "alice"), 5)["refused"] == "later"  # who comes again has not more
    assert "upto" in ask(other, 6)


def test_a_key_has_so_many_connections_and_another_key_still_gets_in(tmp_path: Path, stack: ExitStack) -> None:
    guarded = Guarded(tmp_path, stack, PeerLimits(connections_per_key=2))
    first, second = guarded.listener("alice"), guarded.listener("alice")
    assert heard(first)
    assert heard(second)
    third = guarded.socket(zmq.XSUB, "alice", connect=False)
    events = third.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    third.connect(guarded.publisher.endpoint)
    third.send(b"\x01heartbeat")
    assert events.poll(PATIENCE_MS)
    third.disable_monitor()
    assert heard(guarded.listener("bob"))
    assert heard(first)
    first.close()
    while guarded.publisher._outbound._access.connections > 2:  # bob's and the second: until it is seen that one has gone
        assert heard(second)
    assert heard(guarded.listener("alice"))


@pytest.mark.parametrize("keys", [True, False])
def test_where_there_are_too_many_who_never_said_anything_gives_way(tmp_path: Path, stack: ExitStack, keys: bool) -> None:
    guarded = Guarded(tmp_path, stack, PeerLimits(connections=3), keys=keys)
    speaks = guarded.listener("alice")
    assert heard(speaks)
    for _ in range(6):
        guarded.socket(zmq.DEALER, "bob")
    while guarded.publisher.refused < 4:  # with the one that speaks two have a place
        assert heard(speaks)
    assert heard(guarded.listener("alice"))
    assert heard(speaks)
    assert guarded.publisher._outbound._access.connections == 3
    assert guarded.publisher.refused >= 5


def test_subscriptions_of_a_key_are_counted_over_its_connections_and_fall_when_one_goes(
    tmp_path: Path, stack: ExitStack
) -> None:
    guarded = Guarded(tmp_path, stack, PeerLimits(subscriptions=6))
    first = guarded.listener("alice", "session/a", "session/b", "session/c")
    assert heard(first)
    greedy = guarded.listener("alice", "session/a", "session/b", "session/c")
    greedy.rcvtimeo = 1_500  # thrice a heartbeat
    assert not heard(greedy)
    assert heard(first)
    first.close()
    other = guarded.listener("bob")
    while guarded.publisher._outbound._access.connections > 1:  # until it is seen that they have gone
        assert heard(other)
    assert heard(guarded.listener("alice", "session/a", "session/b", "session/c"))


def test_who_changes_its_mind_often_has_no_more_subscriptions_for_it(tmp_path: Path, stack: ExitStack) -> None:
    guarded = Guarded(tmp_path, stack, PeerLimits(subscriptions=3), keys=False)
    one = guarded.listener("anybody")
    for number in range(40):
        one.send(b"\x01session/%d" % number)
        one.send(b"\x01session/%d" % number)
        one.send(b"\x00session/%d" % number)
        one.send(b"\x00session/%d" % number)
    one.send(b"\x01session/s")
    while one.recv_multipart()[0] != b"session/s":
        pass
    assert guarded.publisher.refused == 0


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 30)), max_size=30))
@settings(deadline=None)
def test_an_account_never_gives_more_than_its_rate_and_what_it_gives_at_once(asks: list[tuple[float, int]]) -> None:
    limits = PeerLimits(requests_at_once=10, requests_per_s=5)
    account, now_s, granted = Account(limits), 100.0, 0
    for after_s, number in asks:
        now_s += after_s
        granted += sum(account.may_ask(now_s) for _ in range(number))
        assert granted <= 10 + 5 * (now_s - 100.0) + 1e-6
    assert account.may_ask(now_s + 1)
