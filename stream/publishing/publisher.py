"""The publisher: predictions and session events out over ZeroMQ, from a thread of its own that never blocks a session."""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import TracebackType

import zmq

from stream.errors import PublishingError
from stream.publishing.endpoint import bind
from stream.publishing.wire import PREDICTIONS, Body, pack, topic_of

QUEUED = 4_096
"""Messages between the sessions and the thread; it empties thousands a second, so that a full queue is a stuck machine."""
OUTSTANDING = 1_000
"""Messages a subscriber may be behind before it loses some; it sees that in the sequence."""
REMEMBERED = 1_024
"""Topics whose last message is kept for those who join late; the least recent goes first."""
LONGEST_SUBSCRIPTION = 1_024
"""Bytes of a subscriber's request; who sends a longer one is disconnected."""
_SUBSCRIBE, _UNSUBSCRIBE = b"\x01", b"\x00"
_STOP = b""


class Publisher:
    """Binds `endpoint` (loopback or ipc) and publishes; use as a context manager.

    A subscriber that joins late first gets the newest message of what it subscribes to. Raises `EndpointError` where the
    address is taken or reaches beyond this machine.
    """

    def __init__(self, endpoint: str, *, linger_ms: int = 1_000) -> None:
        self.epoch = time.time_ns() // 1_000_000
        self.dropped = 0
        """Messages that found the queue full; they leave a gap in their topic's sequence."""
        self._linger_ms = linger_ms
        self._sequences: Counter[bytes] = Counter()
        self._global_sequence = 0
        self._lock = threading.Lock()
        self._subscribed = threading.Event()
        self._last: dict[bytes, list[bytes]] = {}
        self._closed = False
        self._context = zmq.Context()
        self._outbound = self._context.socket(zmq.XPUB)
        self._outbound.set_hwm(OUTSTANDING)
        self._outbound.maxmsgsize = LONGEST_SUBSCRIPTION
        self._outbound.linger = linger_ms
        self._outbound.setsockopt(zmq.XPUB_MANUAL, 1)
        try:
            self.endpoint = bind(self._outbound, endpoint)
        except BaseException:
            self._context.destroy(linger=0)
            raise
        inbound = self._context.socket(zmq.PULL)
        inbound.rcvhwm = 1
        inbound.bind("inproc://queue")
        self._queue = self._context.socket(zmq.PUSH)
        self._queue.sndhwm = QUEUED
        self._queue.connect("inproc://queue")
        self._thread = threading.Thread(target=self._serve, args=(inbound,), name="publisher", daemon=True)
        self._thread.start()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def publish(self, body: Body) -> None:
        """Hands over a prediction or a session event, from any thread, and returns at once.

        Raises `PublishingError` once closed.
        """
        topic = topic_of(body)
        with self._lock:
            if self._closed or not self._thread.is_alive():
                raise PublishingError(f"publisher on {self.endpoint}", found="closed", expected="an open one")
            self._sequences[topic] += 1
            self._global_sequence += 1
            frames = pack(
                body,
                publisher_epoch=self.epoch,
                sequence=self._sequences[topic],
                global_sequence=self._global_sequence,
            )
            # A send alone may go by how full the queue was a millisecond ago; asking for the events makes ZeroMQ look.
            if int(self._queue.getsockopt(zmq.EVENTS)) & zmq.POLLOUT:
                self._queue.send_multipart(frames, zmq.NOBLOCK)
            else:
                self.dropped += 1

    def wait_for_subscriber(self, timeout: float | None = None) -> bool:
        """Waits until somebody has subscribed to predictions; False where nobody has within `timeout` seconds."""
        return self._subscribed.wait(timeout)

    def close(self) -> None:
        """Sends what is queued, for at most twice the linger, and closes."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.sndtimeo = self._linger_ms
            try:
                self._queue.send(_STOP)
            except zmq.Again:
                self._context.destroy(linger=0)  # the thread is gone, and its sockets with it
                return
            self._queue.close()
        self._thread.join()
        self._context.term()

    def _serve(self, inbound: zmq.Socket[bytes]) -> None:
        poller = zmq.Poller()
        poller.register(inbound, zmq.POLLIN)
        poller.register(self._outbound, zmq.POLLIN)
        with inbound, self._outbound:
            while True:
                ready = dict(poller.poll())
                if self._outbound in ready:
                    self._take_request(self._outbound.recv_multipart())
                if inbound in ready:
                    frames = inbound.recv_multipart()
                    if frames == [_STOP]:
                        return
                    self._send(frames)

    def _send(self, frames: list[bytes]) -> None:
        topic = frames[0]
        self._last.pop(topic, None)
        self._last[topic] = frames
        if len(self._last) > REMEMBERED:
            del self._last[next(iter(self._last))]
        self._outbound.send_multipart(frames)

    def _take_request(self, frames: list[bytes]) -> None:
        kind, prefix = frames[0][:1], frames[0][1:]
        if len(frames) != 1:
            return  # not a subscription
        if kind == _UNSUBSCRIBE:
            self._outbound.setsockopt(zmq.UNSUBSCRIBE, prefix)
        elif kind == _SUBSCRIBE:
            self._outbound.setsockopt(zmq.SUBSCRIBE, prefix)
            newest = next((topic for topic in reversed(self._last) if topic.startswith(prefix)), None)
            if newest is not None:
                self._send_to_last_subscriber(self._last[newest])
            predictions = PREDICTIONS.encode()
            if prefix.startswith(predictions) or predictions.startswith(prefix):
                self._subscribed.set()

    def _send_to_last_subscriber(self, frames: list[bytes]) -> None:
        # XPUB_MANUAL_LAST_VALUE directs the very next message to the last subscriber alone, whatever that message is: on
        # for one message only, so that what follows reaches everybody. Switching it off switches XPUB_MANUAL off as well.
        self._outbound.setsockopt(zmq.XPUB_MANUAL_LAST_VALUE, 1)
        self._outbound.send_multipart(frames)
        self._outbound.setsockopt(zmq.XPUB_MANUAL_LAST_VALUE, 0)
        self._outbound.setsockopt(zmq.XPUB_MANUAL, 1)
