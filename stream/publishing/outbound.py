"""The publisher's sockets, all of one thread: the XPUB that says everything, and the ROUTER that says it again."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec
import zmq

from stream.errors import PublishingError
from stream.prediction import SCHEMA_VERSION
from stream.publishing.paging import page_of
from stream.publishing.peers import Access, Peers
from stream.publishing.replay import LARGEST_REQUEST, Refusal, unpack_request
from stream.publishing.ring import Ring
from stream.publishing.topics import may_read, meet, redacted
from stream.publishing.wire import (
    HEARTBEAT,
    PREDICTIONS,
    REDACTED,
    Heartbeat,
    Position,
    now,
)

OUTSTANDING = 1_000
"""Messages a subscriber may be behind before it loses some; it sees that in the sequence and asks for them."""
SOCKET_BUFFER = 256 << 10
"""Bytes in the system's buffers; left to itself it would hold ten thousand messages that a slow subscriber reads too late."""
REMEMBERED = 1_024
"""Topics whose last message is kept for those who join late; the least recent goes first."""
LONGEST_SUBSCRIPTION = 1_024
"""Bytes of a subscriber's request; who sends a longer one is disconnected."""
PAGES = 4
"""Requests and answers of one connection on their way: it has one under way, and asks again after a while. Of answers that
are not taken each is a megabyte, and the frames of one go all or not at all."""
SUBSCRIPTIONS_PER_TURN = 64
"""Before new messages go out again."""
REQUESTS_PER_TURN = 8
"""Replay pages, of up to some milliseconds each, before new messages go out again."""
HEARTBEAT_MS = 500
HEARTBEAT_TOPICS = 256
"""Topics in one part of a heartbeat."""
DEAD_AFTER_MS = 3_000
"""A connection over which nothing comes back for so long is closed; its subscriber connects anew and asks for the rest."""
_SUBSCRIBE, _UNSUBSCRIBE = 1, 0
_PREDICTIONS, _REDACTED, _HEARTBEAT = (name.encode() for name in (PREDICTIONS, REDACTED, HEARTBEAT))


class Outbound:
    """XPUB and ROUTER with who is connected to them. Belongs to the publisher's thread, but for binding and `subscribed`."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        access: Access,
        ring: Ring,
        last: OrderedDict[bytes, list[bytes]],
        *,
        linger_ms: int,
    ) -> None:
        self.subscribed = threading.Event()
        """Somebody has subscribed to predictions."""
        self._refused = 0
        self._access = access
        self._ring = ring
        self._last = last
        self._changed: dict[bytes, int] = {}
        self._redacted_wanted = False
        self._astray = False
        self._beats = 0
        self.xpub, self.router = context.socket(zmq.XPUB), context.socket(zmq.ROUTER)
        for bound, largest in ((self.xpub, LONGEST_SUBSCRIPTION), (self.router, LARGEST_REQUEST)):
            bound.maxmsgsize = largest
            bound.linger = linger_ms
            bound.sndbuf = SOCKET_BUFFER
            bound.heartbeat_ivl = DEAD_AFTER_MS // 3
            bound.heartbeat_timeout = DEAD_AFTER_MS
            access.secure(bound)
        self.xpub.set_hwm(OUTSTANDING)
        self.xpub.setsockopt(zmq.XPUB_MANUAL, 1)
        self.router.set_hwm(PAGES)
        self._listeners, self._askers = Peers(self.xpub, access), Peers(self.router, access)

    def identify(self, epoch: int, previous: Position | None, replay: dict[str, int]) -> None:
        """What the heartbeats say of this publisher."""
        self._epoch, self._previous, self._replay = epoch, previous, replay

    @property
    def refused(self) -> int:
        """Connections, subscriptions, requests and malformed frames that came to nothing."""
        return self._refused + self._listeners.refused + self._askers.refused

    @property
    def is_heard(self) -> bool:
        """Whether anybody is connected."""
        return next(iter(self._listeners), None) is not None

    @property
    def unsent(self) -> int:
        """Bytes on their way to subscribers. A connection that closes before they are there may lose them, untold."""
        return self._listeners.unsent() + self._askers.unsent()

    def readable(self) -> list[zmq.Socket[bytes]]:
        """What to poll for `attend`."""
        sockets = [self.xpub, self.router, self._listeners.monitor, self._askers.monitor]
        return sockets if self._access.questions is None else [*sockets, self._access.questions]

    def attend(self, ready: Mapping[Any, int]) -> None:
        """Takes what has come in."""
        if self._access.questions in ready:
            self._access.answer()
        for peers in (self._listeners, self._askers):
            if peers.monitor in ready:
                peers.update()
        if self.xpub in ready:
            self._take_subscriptions()
        if self.router in ready:
            for _ in range(REQUESTS_PER_TURN):
                try:
                    frames = self.router.recv_multipart(zmq.NOBLOCK, copy=False)
                except zmq.Again:
                    break
                self._take_request(frames)

    def send(self, frames: list[bytes], sequence: int) -> None:
        """Sends a message to whoever subscribes to it; never waits."""
        topic = frames[0]
        self._last.pop(topic, None)
        self._last[topic] = frames
        if len(self._last) > REMEMBERED:
            self._last.popitem(last=False)
        self._changed[topic] = sequence
        send = self.xpub.send  # send_multipart checks each frame before, which takes as long as sending it
        send(topic, zmq.SNDMORE)
        send(frames[1])
        if self._redacted_wanted and topic.startswith(_PREDICTIONS):
            self.xpub.send_multipart(redacted(frames))

    def beat(self, gapped: dict[bytes, int], *, closing: bool = False) -> None:
        """Sends a heartbeat, in as many parts as the topics since the last one need."""
        topics = list((self._changed | gapped).items())
        self._changed = {}
        self._beats += 1
        for at in range(0, max(1, len(topics)), HEARTBEAT_TOPICS):
            part = {topic.decode(): sequence for topic, sequence in topics[at : at + HEARTBEAT_TOPICS]}
            more = at + HEARTBEAT_TOPICS < len(topics)
            self.xpub.send_multipart(self._heartbeat(self._beats, part, more=more, closing=closing))

    def reload(self) -> None:
        """Looks whether keys have changed; ends the connections of those that may read less than before."""
        self._listeners.update()
        self._askers.update()
        if not self._access.reload():
            return
        for peers in (self._listeners, self._askers):
            for peer in peers:
                # Who may read the redacted ones alone by now may have subscribed to more, and whose a connection is that has
                # said nothing is not known: it connects and is asked anew.
                if self._access.read_of(peer) != "full":
                    peers.close(peer)

    def close(self) -> None:
        """Closes the sockets; what is sent gets its linger."""
        for peers in (self._listeners, self._askers):
            peers.stop()
        self._access.close()
        self.xpub.close()
        self.router.close(linger=0)

    def _heartbeat(self, sequence: int, topics: dict[str, int], *, more: bool = False, closing: bool = False) -> list[bytes]:
        end = self._ring.end
        heartbeat = Heartbeat(
            version=SCHEMA_VERSION,
            publisher_epoch=self._epoch,
            sequence=sequence,
            global_sequence=0 if end is None else end.global_sequence,
            published=now(),
            interval_ms=HEARTBEAT_MS,
            replay=self._replay,
            topics=topics,
            more=more,
            previous=self._previous,
            closing=closing,
        )
        return [_HEARTBEAT, msgspec.json.encode(heartbeat)]

    def _take_subscriptions(self) -> None:
        for _ in range(SUBSCRIPTIONS_PER_TURN):
            try:
                frames = self.xpub.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                self._astray = False
                return
            self._take_subscription(frames)

    def _take_subscription(self, frames: list[zmq.Frame]) -> None:
        request = frames[0].bytes
        kind, prefix = request[:1], request[1:]
        if len(frames) != 1 or not kind or kind[0] not in (_SUBSCRIBE, _UNSUBSCRIBE):
            # For such a message XPUB_MANUAL takes the connection of the subscription behind it, which would then be given to
            # somebody else: until nothing waits any more none is granted, and who asked connects and asks anew.
            self._refused += 1
            self._astray = True
            self._listeners.end(frames[0])
            return
        if self._astray:
            if kind[0] == _SUBSCRIBE:
                self._listeners.end(frames[0])
            return
        redacted = meet(prefix, _REDACTED)
        if kind[0] == _UNSUBSCRIBE:  # also of those who have gone, without their name
            self._listeners.unsubscribe(frames[0], prefix)
            self.xpub.setsockopt(zmq.UNSUBSCRIBE, prefix)
            return
        peer = self._listeners.subscribe(frames[0], prefix)
        if peer is None:
            return
        if not may_read(self._access.read_of(peer), prefix):
            self._refused += 1
            return
        self.xpub.setsockopt(zmq.SUBSCRIBE, prefix)
        # For good: an end names neither who nor whether it had begun, and would be a way to end it for others.
        self._redacted_wanted |= redacted
        if meet(prefix, _HEARTBEAT):
            self._send_to_last_subscriber(self._heartbeat(0, {}))
        else:
            newest = self._newest(prefix)
            if newest is not None:
                self._send_to_last_subscriber(newest)
        if meet(prefix, _PREDICTIONS) or redacted:
            self.subscribed.set()

    def _newest(self, prefix: bytes) -> list[bytes] | None:
        for topic in reversed(self._last):
            if topic.startswith(prefix):
                return self._last[topic]
            if topic.startswith(_PREDICTIONS) and (_REDACTED + topic[len(_PREDICTIONS) :]).startswith(prefix):
                return redacted(self._last[topic])
        return None

    def _send_to_last_subscriber(self, frames: list[bytes]) -> None:
        # XPUB_MANUAL_LAST_VALUE directs the very next message to the last subscriber alone, whatever that message is: on
        # for one message only, so that what follows reaches everybody. Switching it off switches XPUB_MANUAL off as well.
        self.xpub.setsockopt(zmq.XPUB_MANUAL_LAST_VALUE, 1)
        self.xpub.send_multipart(frames)
        self.xpub.setsockopt(zmq.XPUB_MANUAL_LAST_VALUE, 0)
        self.xpub.setsockopt(zmq.XPUB_MANUAL, 1)

    def _take_request(self, frames: list[zmq.Frame]) -> None:
        try:
            if len(frames) != 2:
                raise PublishingError("replay request", found=f"{len(frames)} frames", expected="2: route, JSON")
            request = unpack_request(frames[1].bytes)
        except PublishingError:
            self._refused += 1
            return
        peer = self._askers.of(frames[1])
        if peer is None or peer.account is None:
            return
        answer: list[bytes]
        prefixes = tuple(prefix.encode(errors="replace") for prefix in request.prefixes)
        read = self._access.read_of(peer)
        if not all(may_read(read, prefix) for prefix in prefixes):
            self._refused += 1
            answer = [msgspec.json.encode(Refusal(request=request.request, refused="denied"))]
        elif not peer.account.may_ask(time.monotonic()):
            self._refused += 1
            answer = [msgspec.json.encode(Refusal(request=request.request, refused="later"))]
        else:
            answer = page_of(request, prefixes, self._ring, self._last)
        with contextlib.suppress(zmq.Again):  # it does not take its answers: it will ask again
            self.router.send_multipart([frames[0].bytes, *answer], zmq.NOBLOCK)
