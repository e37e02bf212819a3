"""The subscriber: typed predictions off a publisher, in order and each once, and what was missed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from types import TracebackType

from stream.errors import EndpointError, PublishingError
from stream.prediction import Prediction
from stream.publishing.following import Following
from stream.publishing.freshness import Freshness
from stream.publishing.inbound import Inbound
from stream.publishing.keys import PublicKey, SecretKey
from stream.publishing.known import Received, received
from stream.publishing.newest import Newest
from stream.publishing.replay import unpack_answer
from stream.publishing.wire import (
    DEFAULT_ENDPOINT,
    HEARTBEAT,
    PREDICTIONS,
    REDACTED,
    SESSIONS,
    Gap,
    Heartbeat,
    Message,
    Position,
    check_session,
    split,
    unpack_body,
    unpack_header,
    unpack_heartbeat,
)

TURN_MS = 100
"""At most so long until it is looked whether something has to be asked for, or whether it was closed."""
SILENT = 2
"""Heartbeats that stay away, and nothing else comes, before a connection is taken for dead. Where the publisher ended it while
this process stood still, its end may not have come, and ZeroMQ would notice after 4 s."""
LONGEST_SILENCE_S = 8.0
"""Between attempts, which double it."""
LOOK_S = 0.5
"""Between looks at the connection while messages come: what was lost with it also shows in the sequences."""


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
        self._settled = (0, 0) if since is None else (since.publisher_epoch, since.global_sequence)
        self._since = since
        self._timeout = timeout
        self._until_ended = until_ended
        self._freshness = Freshness(max_age, time.time())
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
        self._newest = Newest()
        self._open: set[str] = set()
        self._closing = False
        self._look_s = 0.0
        self._heard_s = self._silence_s = float("inf")
        keys = None if key is None or publisher_key is None else (key, publisher_key)
        self._inbound = Inbound(endpoint, (*prefixes, HEARTBEAT.encode()), keys, turn_ms=TURN_MS)

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def position(self) -> Position | None:
        """Up to where everything has come or been told, as `since` takes it; None before anything is known."""
        return Position(*self._settled) if self._settled[0] else self._since

    def __iter__(self) -> Iterator[Prediction | Gap]:
        for item in self.messages():
            if isinstance(item, Gap):
                yield item
            elif isinstance(item.body, Prediction):
                yield item.body

    def messages(self) -> Iterator[Message | Gap]:
        """Predictions and session events with their headers, each once, in order, and gaps."""
        while (item := self._expected() or self._next()) is not None:
            if isinstance(item, Gap):
                self.lost += item.count or 0
            yield item
            if self._until_ended and isinstance(item, Message) and self._was_last(item):
                return

    def latest(self) -> dict[tuple[str, str], Prediction]:
        """By session and lane, the newest revision of the newest segment, of all that has been iterated over so far."""
        return self._newest.lanes()

    def close(self) -> None:
        """Disconnects."""
        self._closing = True
        self._inbound.close()

    def stop(self) -> None:
        """Ends iterating within a moment; the one method that another thread may call."""
        self._closing = True

    def _expected(self) -> Message | None:
        """The next message where it is the next of its topic and nothing has to be told or asked for before it, else None.

        Nearly all are, and are taken here in one piece: with a hundred subscribers on two cores nothing is still in the
        caches, and the calls of the general way cost as much as the decoding. What is not as it should be goes that way.
        """
        known = self._following.known
        now_s = time.monotonic()
        if now_s >= self._look_s or known.out or self._closing:
            return None
        self._settled = (known.epoch or 0, known.covered)
        frames = self._inbound.receive()
        if frames is None:
            self._look_s = float("-inf")
            return None
        self._heard_s = now_s
        topic, frame = frames[0], frames[-1]
        last = known.topics.get(topic)
        if last is None or len(frames) != 2:
            self._take_published(frames)
            return None
        header_json, payload = split(frame)
        try:
            header, body = unpack_header(header_json), unpack_body(topic, payload)
        except PublishingError:
            self._take_published(frames)
            return None
        if (
            header.sequence != last[0] + 1
            or header.publisher_epoch != known.epoch
            or not isinstance(body, Prediction)
            or self._freshness.is_too_old(header.published, time.time())
        ):
            self._take_published(frames)
            return None
        known.advance(topic, header)
        return Message(header=header, body=body) if self._newest.add(body) else None

    def _next(self) -> Message | Gap | None:
        """The next thing to tell, None once closed."""
        known = self._following.known
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while not self._closing:
            while known.out:
                item = known.out.popleft()
                told = item if isinstance(item, Gap) else self._opened(item)
                if told is not None:
                    return told
            self._settled = (known.epoch or 0, known.covered)
            self._look(time.monotonic(), deadline)
        return None

    def _look(self, now_s: float, deadline: float | None) -> None:
        """Takes whatever has come in or waits for it, a turn at most, and asks for what has to be asked for."""
        self._ask(now_s)
        if self._following.known.out:
            return
        left_ms = TURN_MS if deadline is None else max(0, round((deadline - now_s) * 1_000))
        is_usual = self._inbound.is_connected and not self._following.is_asking
        self._look_s = now_s + LOOK_S if is_usual else float("-inf")
        message, answer, reconnected = self._inbound.wait(min(TURN_MS, left_ms))
        if reconnected:
            self._following.reconnected()
        if answer is not None:
            self._take_answer(answer)
        if message is not None:
            self._heard_s = now_s
            self._take_published(message)
        elif now_s - self._heard_s > self._silence_s:
            self._inbound.reconnect()
            self._heard_s, self._silence_s = now_s, min(2 * self._silence_s, LONGEST_SILENCE_S)
        elif answer is None and deadline is not None and time.monotonic() >= deadline:
            raise PublishingError(
                f"publisher on {self.endpoint}",
                found=f"nothing for {self._timeout:g} s",
                expected="predictions",
                fix="is it running, and is the session's name right?",
            )

    def _take_published(self, frames: list[bytes]) -> None:
        try:
            if len(frames) != 2 or frames[0] == _HEARTBEAT:
                self._take_heartbeat(unpack_heartbeat(frames))
            else:
                self._following.take(received(frames))
        except PublishingError:
            self.malformed += 1
        if self._following.is_asking:
            self._look_s = float("-inf")

    def _take_heartbeat(self, heartbeat: Heartbeat) -> None:
        self._freshness.note(heartbeat.published, time.time())
        self._silence_s = SILENT * heartbeat.interval_ms / 1_000
        self._inbound.connect_replay(heartbeat.replay)
        self._following.take_heartbeat(heartbeat, time.monotonic())
        self._ask(time.monotonic())

    def _ask(self, now_s: float) -> None:
        request = self._following.request(now_s)
        if request is not None:
            self._inbound.ask(request)

    def _take_answer(self, frames: list[bytes]) -> None:
        try:
            answer, answers = unpack_answer(frames)
            messages = [received(frames) for frames in answers]
        except PublishingError:
            self.malformed += 1
            return
        self._following.answer(answer, messages, time.monotonic())
        if self._following.denied:
            raise PublishingError(
                f"publisher on {self.endpoint}",
                found="this key may not read that",
                expected="a key that may",
                fix="ask for the redacted predictions, or the publisher's owner for more",
            )
        self._ask(time.monotonic())

    def _opened(self, message: Received) -> Message | Gap | None:
        """The typed message; None where it is malformed or a duplicate, a gap where it is too old."""
        header = message.header
        if self._freshness.is_too_old(header.published, time.time()):
            return Gap(
                publisher_epoch=header.publisher_epoch,
                topic=message.topic.decode(errors="replace"),
                first=header.sequence,
                last=header.sequence,
                reason="too-old",
            )
        try:
            body = unpack_body(message.topic, message.payload)
        except PublishingError:
            self.malformed += 1
            return None
        if isinstance(body, Prediction):
            if not self._newest.add(body):
                return None
        elif body.event == "started":
            self._newest.begin(body.session)
        return Message(header=header, body=body)

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


_HEARTBEAT = HEARTBEAT.encode()
