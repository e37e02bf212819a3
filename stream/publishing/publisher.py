"""The publisher: predictions and session events out over ZeroMQ, from a thread of its own that never blocks a session."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import zmq

from stream.errors import EndpointError, PublishingError
from stream.prediction import Prediction
from stream.publishing.accounts import PeerLimits
from stream.publishing.alarm import Alarm
from stream.publishing.endpoint import bind, bind_replay
from stream.publishing.keys import Authorised, SecretKey
from stream.publishing.log import Log, Logged, Segment, Started
from stream.publishing.outbound import HEARTBEAT_MS, REMEMBERED, Outbound
from stream.publishing.peers import Access
from stream.publishing.ring import Ring, RingLimits
from stream.publishing.wire import Body, Position, payload_of, stamped, topic_of

QUEUED = 4_096
"""Messages between the sessions and the thread; it empties thousands a second, so that a full queue is a stuck machine."""
BATCH = 256
"""Messages that are written and sent before requests are looked at again."""
TOPICS = 65_536
"""Topics whose sequence is known; a topic that comes back after so many others goes on above all that were forgotten."""
NAP_S = 0.000_25
"""Of the thread between batches that follow each other within two of them; a message is late by half of it on average."""
FLOW_S = 0.02
"""While messages follow each other within it the thread waits for the next one alone, and looks at its sockets as often:
waiting for everything costs a third of what it spends on a message."""
HEARD_S = 0.1
"""Nor when something has come in so lately: who asks for what it missed asks page after page."""
QUIET_MS = 100
"""Without a request for so long, nobody who is connected misses anything."""
RELOAD_S = 0.5
"""How often the folder of authorised keys is looked at."""

_log = logging.getLogger(__name__)


_Queued = tuple[int, int, list[bytes], Segment | None]
"""Global sequence, sequence, frames, segment."""


class Publisher:
    """Binds addresses (tcp, ipc) and publishes; use as a context manager.

    A subscriber that joins late first gets the newest message of what it subscribes to; what it misses it may ask for.
    `log`: a folder in which everything is written before it is sent, so that a new publisher goes on where this one
    ended. `key` and `authorised`: who connects has to show one of those keys; without them an address that other machines
    reach is refused, unless `insecure`. `limits`: of what is kept; `peers`: of what those who connect may have. Raises
    `EndpointError` where an address is taken or refused, `PublishingError` where the log is in use.
    """

    def __init__(
        self,
        endpoint: str | Sequence[str],
        *,
        log: Path | None = None,
        key: SecretKey | None = None,
        authorised: Authorised | None = None,
        insecure: bool = False,
        limits: RingLimits | None = None,
        peers: PeerLimits | None = None,
        linger_ms: int = 1_000,
    ) -> None:
        if (key is None) != (authorised is None):
            raise EndpointError("publisher's keys", found="one of two", expected="a key and a folder of authorised keys")
        self.dropped = 0
        """Messages that found the queue full; they leave a gap in their topic's sequence."""
        self.log_failure: str | None = None
        """Why nothing is written to the log any more; what is published then is not acknowledged."""
        self.acknowledged: Position
        """Up to where everything is written (where there is a log) and sent."""
        self._linger_ms = linger_ms
        self._sequences: OrderedDict[bytes, int] = OrderedDict()
        self._floor = 0
        self._number = 0
        self._runs: OrderedDict[bytes, tuple[int, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._progress = threading.Condition()
        self._queue: deque[_Queued] = deque()
        self._gapped: set[bytes] = set()
        self._closed = False
        self._log = None if log is None else Log(log)
        self._ring = Ring(limits or RingLimits())
        last: OrderedDict[bytes, list[bytes]] = OrderedDict()
        previous = self._restore(last)
        self.epoch = max(time.time_ns() // 1_000_000, 0 if previous is None else previous.publisher_epoch + 1)
        self._ring.begin(self.epoch, previous)
        self.acknowledged = Position(self.epoch, 0)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            if self._log is not None:
                self._log.append([Started(self.epoch, previous)])
            self._access = Access(self._context, key, authorised, peers)
            self._outbound = Outbound(self._context, self._access, self._ring, last, linger_ms=linger_ms)
            beyond = insecure or key is not None
            self.endpoints = tuple(
                bind(self._outbound.xpub, one, beyond=beyond) for one in ([endpoint] if isinstance(endpoint, str) else endpoint)
            )
            replay = dict(filter(None, (bind_replay(self._outbound.router, bound) for bound in self.endpoints)))
        except BaseException as error:
            if self._log is not None:
                self._log.close()
            self._context.destroy(linger=0)
            if isinstance(error, OSError) and not isinstance(error, zmq.ZMQError):
                raise PublishingError(f"publisher's log {log}", found=error.strerror) from error
            raise
        self.endpoint = self.endpoints[0]
        self._outbound.identify(self.epoch, previous, replay)
        self._alarm = Alarm(self._lock)
        self._thread = threading.Thread(target=self._serve, name="publisher", daemon=True)
        self._thread.start()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def publish(self, body: Body) -> Position:
        """Hands over a prediction or a session event, from any thread, and returns its place at once.

        It is written and sent when `acknowledged` has reached that place. Raises `PublishingError` once closed.
        """
        topic, payload = topic_of(body), payload_of(body)
        with self._lock:
            if self._closed or not self._thread.is_alive():
                raise PublishingError(f"publisher on {self.endpoint}", found="closed", expected="an open one")
            self._number = number = self._number + 1
            sequence = self._next_sequence(topic)
            if len(self._queue) >= QUEUED:
                self.dropped += 1
                self._gapped.add(topic)
                return Position(self.epoch, number)
            segment = self._segment_of(body, topic, number)
            self._queue.append((number, sequence, [topic, stamped(payload, self.epoch, sequence, number)], segment))
            self._alarm.ring()
        return Position(self.epoch, number)

    def wait_for_subscriber(self, timeout: float | None = None) -> bool:
        """Waits until somebody has subscribed to predictions; False where nobody has within `timeout` seconds."""
        return self._outbound.subscribed.wait(timeout)

    def wait_for_acknowledgement(self, position: Position, timeout: float | None = None) -> bool:
        """Waits until everything up to `position` is acknowledged; False where it is not within `timeout` seconds."""
        with self._progress:
            return self._progress.wait_for(lambda: self.acknowledged >= position, timeout)

    @property
    def refused(self) -> int:
        """Connections, subscriptions and requests that were refused, and frames that follow no protocol."""
        return self._outbound.refused

    def close(self) -> None:
        """Sends what is queued, for at most twice the linger, and closes."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._alarm.ring()
        self._thread.join()
        self._alarm.close()
        self._context.term()
        if self._log is not None:
            self._log.close()

    def _restore(self, last: OrderedDict[bytes, list[bytes]]) -> Position | None:
        """Fills the ring from the log; where the epoch before ended."""
        if self._log is None:
            return None
        end: Position | None = None
        now_s = time.monotonic()
        for record in self._log.records():
            if isinstance(record, Started):
                end = Position(record.epoch, 0)
                self._ring.begin(record.epoch, record.previous)
            elif end is not None and record.epoch == end.publisher_epoch and record.number > end.global_sequence:
                end = Position(record.epoch, record.number)
                topic = record.frames[0]
                self._ring.add(record.number, record.sequence, record.frames, record.segment, now_s)
                last[topic] = record.frames
                last.move_to_end(topic)
                if len(last) > REMEMBERED:
                    last.popitem(last=False)
                if record.segment is not None:
                    self._runs[topic] = record.segment[:2]
        return end

    def _next_sequence(self, topic: bytes) -> int:
        sequence = self._sequences.pop(topic, self._floor) + 1
        self._sequences[topic] = sequence
        if len(self._sequences) > TOPICS:
            self._floor = max(self._floor, self._sequences.popitem(last=False)[1])
        return sequence

    def _segment_of(self, body: Body, topic: bytes, number: int) -> Segment | None:
        """The identity of the segment; a session that starts again under its name has others."""
        if isinstance(body, Prediction):
            result = body.result
            return (*self._runs.get(topic, (0, 0)), result.source_epoch, result.lane, result.start_ns)
        if body.event == "started":
            predictions = b"prediction/" + topic.partition(b"/")[2]
            self._runs[predictions] = (self.epoch, number)
            self._runs.move_to_end(predictions)
            if len(self._runs) > TOPICS:
                self._runs.popitem(last=False)
        return None

    def _serve(self) -> None:
        outbound = self._outbound
        poller = zmq.Poller()
        poller.register(self._alarm.readable, zmq.POLLIN)
        for readable in outbound.readable():
            poller.register(readable, zmq.POLLIN)
        heartbeat_s = reload_s = sent_s = polled_s = heard_s = time.monotonic()
        busy = False
        try:
            while True:
                if busy and not self._queue:
                    time.sleep(NAP_S)  # so that what comes at a high rate comes together, and wakes nobody
                now_s = time.monotonic()
                flows = now_s < min(sent_s, polled_s) + FLOW_S and now_s >= heard_s + HEARD_S
                with self._lock:
                    closing = self._closed
                    waits = not self._queue and not closing
                    if waits:
                        self._alarm.set(polling=not flows)
                wait_s = min(heartbeat_s, reload_s) - now_s if waits else 0.0
                if not flows:
                    ready = dict(poller.poll(max(0, math.ceil(wait_s * 1_000))))
                    polled_s = time.monotonic()
                    if ready.pop(self._alarm.readable.fileno(), 0):
                        self._alarm.silence()
                    if ready:
                        heard_s = polled_s
                        outbound.attend(ready)
                elif waits:
                    self._alarm.wait(min(wait_s, polled_s + FLOW_S - now_s))
                sent = self._send_queued() > 0
                now_s = time.monotonic()
                if sent:
                    busy, sent_s = now_s - sent_s < 2 * NAP_S, now_s
                else:
                    busy = False
                if now_s >= heartbeat_s:
                    outbound.beat(self._gapped_topics())
                    heartbeat_s = now_s + HEARTBEAT_MS / 1_000
                if now_s >= reload_s:
                    outbound.reload()
                    reload_s = now_s + RELOAD_S
                if closing and not self._queue:
                    outbound.beat(self._gapped_topics(), closing=True)
                    self._answer_the_last(poller)
                    return
        finally:
            outbound.close()

    def _answer_the_last(self, poller: zmq.Poller) -> None:
        """Answers what subscribers still ask for, until they are quiet for a moment and have all that was sent."""
        until_s = time.monotonic() + self._linger_ms / 1_000
        poller.unregister(self._alarm.readable)
        while self._outbound.is_heard and time.monotonic() < until_s:
            ready = dict(poller.poll(QUIET_MS))
            if not ready and not self._outbound.unsent:
                return
            self._outbound.attend(ready)

    def _gapped_topics(self) -> dict[bytes, int]:
        """Last sequences of the topics that lost messages to a full queue, once it is empty."""
        with self._lock:
            if self._queue or not self._gapped:
                return {}
            gapped, self._gapped = self._gapped, set()
            return {topic: self._sequences[topic] for topic in gapped if topic in self._sequences}

    def _send_queued(self) -> int:
        queue = self._queue
        batch = [queue.popleft() for _ in range(min(len(queue), BATCH))]
        if not batch:
            return 0
        if self._log is not None and self.log_failure is None:
            try:
                self._log.append([Logged(self.epoch, *queued) for queued in batch])
            except OSError as error:
                self.log_failure = str(error.strerror)
                _log.error("publisher's log %s: %s; nothing more is written or acknowledged", self._log.folder, error.strerror)
        now_s = time.monotonic()
        add, send = self._ring.add, self._outbound.send
        for number, sequence, frames, segment in batch:
            send(frames, sequence)
            add(number, sequence, frames, segment, now_s)
        if self.log_failure is None:
            with self._progress:
                self.acknowledged = Position(self.epoch, batch[-1][0])
                self._progress.notify_all()
        return len(batch)
