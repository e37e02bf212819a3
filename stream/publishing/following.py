"""Following a publisher: what is new, what is missing, and what to ask for. Pure: no sockets, the time is told.

What comes in order goes out at once. At a gap what follows is held back, what is missing is asked for, and goes out first.
Everything that goes out is in order of position, each message once; a `Gap` stands where messages can't be had.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from stream.publishing.known import Known, Received
from stream.publishing.replay import Missing, Page, Refusal, Request
from stream.publishing.wire import Gap, Heartbeat, Position

HELD = 4_096
"""Messages held back during a replay; what comes after them is let go, and asked for in its turn."""
ANSWER_S = 2.0
"""For an answer, before it is asked for again."""
ATTEMPTS = 3
"""Requests without an answer from a publisher whose heartbeats come; then its messages are given up, and told."""


GIVEN_UP_S = 10.0
"""For a publisher to come back and answer; then what is held back goes out, and what is missing is told."""
CLOSING_S = 0.5
"""The same for one that has said that it ends."""
LATEST_S = 1.0
"""For the newest message of each topic, which nobody misses much."""


class _Asked:
    """The one request under way."""

    def __init__(self, after: Position, until: Position | None, prefixes: tuple[str, ...], cause: Received | None) -> None:
        self.after = after
        self.until = until
        self.prefixes = prefixes
        self.cause = cause
        """The message that showed the gap."""
        self.entering = False
        """The cause is a message of another publisher epoch, the first that is held."""
        self.latest = False
        self.expected: dict[bytes, int] = {}
        """Last sequences that a heartbeat told."""
        self.first_s: float | None = None
        self.sent_s: float | None = None
        self.attempts = 0
        self.number: int | None = None
        """Of the first request for what is asked for next: over a slow line its answer comes after the second was sent."""
        self.not_before_s = float("-inf")


class Following:
    """What a subscriber knows of a publisher. `wanted` says whether a topic is one of those subscribed to."""

    def __init__(self, prefixes: tuple[str, ...], wanted: Callable[[bytes], bool], since: Position | None = None) -> None:
        self.known = Known(wanted)
        self.denied = False
        self.heartbeat: Heartbeat | None = None
        """The newest."""
        self._prefixes = prefixes
        self._since = since
        self._held: deque[Received | Heartbeat] = deque()
        self._asked: _Asked | None = None
        self._number = 0
        self._beats = 0
        self._beat_s = float("-inf")
        self._reconnected = False
        self._part_follows = False
        self._ended: Position | None = None

    @property
    def is_asking(self) -> bool:
        """Whether something is being asked for."""
        return self._asked is not None

    def take(self, message: Received) -> None:
        """A message off the XPUB."""
        if self._asked is not None:
            self._hold(message)
        else:
            self._consider(message)

    def take_heartbeat(self, heartbeat: Heartbeat, now_s: float) -> None:
        """A heartbeat."""
        self.heartbeat = heartbeat
        self._beat_s = now_s
        if self._asked is not None:
            self._hold(heartbeat)
        else:
            self._consider_heartbeat(heartbeat)

    def reconnected(self) -> None:
        """The connection is a new one: what was sent in between is asked for with the next heartbeat."""
        self._reconnected = self.known.epoch is not None

    def request(self, now_s: float) -> Request | None:
        """What to ask the ROUTER for now, None for nothing."""
        while (asked := self._asked) is not None:
            if asked.first_s is None:
                asked.first_s = now_s
            if not self._is_hopeless(asked, now_s):
                break
            self._give_up(asked)
        if asked is None or now_s < asked.not_before_s:
            return None
        if asked.sent_s is not None and now_s - asked.sent_s < ANSWER_S:
            return None
        asked.attempts += now_s - self._beat_s < ANSWER_S
        asked.sent_s = now_s
        self._number += 1
        asked.number = asked.number or self._number
        return Request(request=self._number, after=asked.after, until=asked.until, latest=asked.latest, prefixes=asked.prefixes)

    def answer(self, answer: Page | Refusal, messages: list[Received], now_s: float) -> None:
        """An answer of the ROUTER."""
        asked = self._asked
        if asked is None or asked.number is None or not asked.number <= answer.request <= self._number:
            return  # the answer to a request before has come since
        if isinstance(answer, Refusal):
            self.denied = self.denied or answer.refused == "denied"
            asked.not_before_s, asked.sent_s = now_s + 1.0, None
            return
        if asked.latest:
            for message in messages:
                if not self.known.wanted(message.topic) or message.topic in self.known.topics:
                    continue
                if message.header.publisher_epoch != self.known.epoch:
                    self.known.out.append(message)  # its sequence is another epoch's, and says nothing of this one's
                elif message.header.global_sequence <= self.known.covered:
                    self.known.deliver(message)
            self._finish()
            return
        self._take_page(asked, answer, messages)
        if answer.more and answer.upto > asked.after:
            asked.after, asked.first_s, asked.sent_s, asked.attempts = answer.upto, now_s, None, 0
            asked.number = None
            return
        if asked.cause is None and asked.prefixes == self._prefixes and answer.upto.publisher_epoch == self.known.epoch:
            self.known.covered = max(self.known.covered, answer.upto.global_sequence)
            if self.heartbeat is not None and self.heartbeat.publisher_epoch == self.known.epoch:
                self._note_end(self.heartbeat)  # the one that says that it closes may have been what was asked upon
        self._close_gap(asked, "gone")
        self._enter_held(asked)
        self._finish()

    def _is_hopeless(self, asked: _Asked, now_s: float) -> bool:
        if self.heartbeat is None:
            return True  # nobody has said where to ask
        assert asked.first_s is not None
        waited_s = now_s - asked.first_s
        unanswered = asked.sent_s is not None and now_s - asked.sent_s >= ANSWER_S
        return (
            (unanswered and asked.attempts >= ATTEMPTS and now_s - self._beat_s < ANSWER_S)
            or (self.heartbeat.closing and min(waited_s, now_s - self._beat_s) >= CLOSING_S)
            or waited_s >= (LATEST_S if asked.latest else GIVEN_UP_S)
        )

    def _enter_held(self, asked: _Asked) -> None:
        """Into the epoch of the message that showed it, whatever the answer was: it is not asked for ever."""
        if asked.entering:
            first = self._held[0]
            epoch = first.publisher_epoch if isinstance(first, Heartbeat) else first.header.publisher_epoch
            if not self.known.is_past(epoch):
                self._enter(epoch)

    def _hold(self, item: Received | Heartbeat) -> None:
        if len(self._held) < HELD:
            self._held.append(item)
        # What finds no place shows again as a gap.

    def _finish(self) -> None:
        self._asked = None
        while self._held and self._asked is None:
            item = self._held.popleft()
            if isinstance(item, Heartbeat):
                self._consider_heartbeat(item)
            else:
                self._consider(item)

    def _consider(self, message: Received) -> None:
        if self.known.continues(message):
            return
        header = message.header
        if not self.known.wanted(message.topic):
            return
        if self._beats == 0 and self._since is not None:
            self._hold(message)  # for what comes before it, once a heartbeat says whom to ask
            return
        if self.known.epoch is None:
            self.known.epoch, self.known.covered = header.publisher_epoch, header.global_sequence - 1
        if header.publisher_epoch != self.known.epoch:
            if not self.known.is_past(header.publisher_epoch):
                self._ask_for_all(message)
            return
        known = self.known.topics.get(message.topic)
        if known is None:
            if header.sequence == 1 or header.global_sequence <= self.known.covered or self._beats == 0:
                self.known.deliver(message)
            else:  # was it there before us, or have we missed its beginning?
                self._ask(self.known.covered, message)
        elif header.sequence > known[0]:
            self._ask(known[1], message)

    def _consider_heartbeat(self, heartbeat: Heartbeat) -> None:
        first = self._beats == 0
        if self.known.epoch is None or (first and heartbeat.publisher_epoch == self.known.epoch):
            self._begin(heartbeat)
            return
        if heartbeat.publisher_epoch != self.known.epoch:
            if not self.known.is_past(heartbeat.publisher_epoch):
                self._ask_for_all(heartbeat)
            return
        skipped = False
        if heartbeat.sequence:
            # Before the first that is counted, one may have been lost: it would have told of what was sent since.
            skipped = self._beats < 0 or heartbeat.sequence != self._beats + (not self._part_follows)
            self._beats, self._part_follows = heartbeat.sequence, heartbeat.more
        if heartbeat.global_sequence <= self.known.covered and not heartbeat.topics:
            self._reconnected = False
            self._note_end(heartbeat)
            return
        if self._reconnected or skipped or (heartbeat.sequence == 0):
            self._ask_for_all(None)
            return
        expected = self.known.unknown(heartbeat)
        if expected:
            self._ask_for_all(None)
            assert self._asked is not None
            self._asked.expected = expected
        elif not heartbeat.more:
            self.known.covered = max(self.known.covered, heartbeat.global_sequence)
            self._note_end(heartbeat)

    def _note_end(self, heartbeat: Heartbeat) -> None:
        if heartbeat.closing and heartbeat.global_sequence <= self.known.covered:
            self._ended = Position(heartbeat.publisher_epoch, heartbeat.global_sequence)

    def _begin(self, heartbeat: Heartbeat) -> None:
        """The first heartbeat: from here on it is known what there is."""
        self.known.epoch = heartbeat.publisher_epoch
        self._beats = heartbeat.sequence or -1
        self._reconnected = False
        if self._since is not None:
            self._asked = _Asked(self._since, None, self._prefixes, None)
            if self._since.publisher_epoch not in (0, self.known.epoch):
                self.known.epoch = self._since.publisher_epoch
            self.known.covered = self._since.global_sequence if self._since.publisher_epoch == self.known.epoch else 0
            return
        self.known.covered = max(self.known.covered, heartbeat.global_sequence)
        self._asked = _Asked(Position(self.known.epoch, 0), None, self._prefixes, None)
        self._asked.latest = True

    def _ask(self, after: int, cause: Received) -> None:
        """For what is missing before a message of one topic."""
        assert self.known.epoch is not None
        self._held.appendleft(cause)
        until = Position(self.known.epoch, cause.header.global_sequence - 1)
        self._asked = _Asked(Position(self.known.epoch, after), until, (cause.topic.decode(errors="replace"),), cause)

    def _ask_for_all(self, cause: Received | Heartbeat | None) -> None:
        """For all that was sent since everything was known."""
        assert self.known.epoch is not None
        if cause is not None:
            self._held.appendleft(cause)
        self._reconnected = False
        self._asked = _Asked(Position(self.known.epoch, self.known.covered), None, self._prefixes, None)
        self._asked.entering = cause is not None

    def _enter(self, epoch: int) -> None:
        if self.known.enter(epoch):
            self._beats = -1

    def _take_page(self, asked: _Asked, page: Page, messages: list[Received]) -> None:
        if page.lost:
            self._lose_epoch(asked.after)
        epochs = {m.header.publisher_epoch for m in messages} | {one.publisher_epoch for one in page.missing}
        for epoch in sorted(epochs):
            if self.known.is_past(epoch):
                continue
            self._enter(epoch)
            missing: dict[bytes, list[Missing]] = {}
            for one in page.missing:
                if one.publisher_epoch == epoch:
                    missing.setdefault(one.topic.encode(), []).append(one)
            self.known.take_page(epoch, [m for m in messages if m.header.publisher_epoch == epoch], missing, page.upto)
        self._enter(page.upto.publisher_epoch)

    def _lose_epoch(self, after: Position) -> None:
        heartbeat = self.heartbeat
        previous = None if heartbeat is None else heartbeat.previous
        if after in (previous, self._ended):
            return
        last = previous.global_sequence if previous and previous.publisher_epoch == after.publisher_epoch else None
        self.known.out.append(
            Gap(
                publisher_epoch=after.publisher_epoch,
                topic=None,
                first=after.global_sequence + 1,
                last=last,
                reason="epoch" if last is None else "gone",
            )
        )

    def _close_gap(self, asked: _Asked, reason: str) -> None:
        """What the answer does not tell of is gone; the message that showed the gap is the next one now."""
        for topic, sequence in asked.expected.items():
            known = self.known.topics.get(topic)
            if self.known.epoch == asked.after.publisher_epoch and (known is None or known[0] < sequence):
                self.known.gap((self.known.epoch, topic), sequence if known is None else known[0] + 1, sequence, reason)
                self.known.topics[topic] = (sequence, self.known.covered)
        cause = asked.cause
        if cause is None or cause.header.publisher_epoch != self.known.epoch:
            return
        known = self.known.topics.get(cause.topic)
        sequence = cause.header.sequence
        if known is None:
            self.known.topics[cause.topic] = (sequence - 1, cause.header.global_sequence - 1)
        elif known[0] < sequence - 1:
            self.known.gap((self.known.epoch, cause.topic), known[0] + 1, sequence - 1, reason)
            self.known.topics[cause.topic] = (sequence - 1, cause.header.global_sequence - 1)

    def _give_up(self, asked: _Asked) -> None:
        if not asked.latest and asked.cause is None:
            heartbeat = self.heartbeat
            same = heartbeat is not None and heartbeat.publisher_epoch == asked.after.publisher_epoch
            self.known.out.append(
                Gap(
                    publisher_epoch=asked.after.publisher_epoch,
                    topic=None,
                    first=asked.after.global_sequence + 1,
                    last=heartbeat.global_sequence if heartbeat is not None and same else None,
                    reason="unanswered",
                )
            )
            if heartbeat is not None:
                self._enter(heartbeat.publisher_epoch)
                if same:
                    self.known.covered = max(self.known.covered, heartbeat.global_sequence)
                for topic, sequence in (self.known.unknown(heartbeat) | asked.expected).items():
                    self.known.topics[topic] = (sequence, heartbeat.global_sequence)
                asked.expected = {}
            self._enter_held(asked)
        self._close_gap(asked, "unanswered")
        self._finish()
