"""What has come of a publisher's messages, and what of them is missing. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from stream.publishing.replay import Missing
from stream.publishing.wire import Gap, Header, Heartbeat, Position, split, unpack_header


class Received(msgspec.Struct, frozen=True, gc=False):
    """A message whose header is known and whose payload nobody has looked at yet."""

    topic: bytes
    header: Header
    payload: bytes


def received(frames: list[bytes]) -> Received:
    """What the two frames of a message hold. Raises `PublishingError` where the header does not follow the protocol."""
    header, payload = split(frames[1])
    return Received(frames[0], unpack_header(header), payload)


class Known:
    """The place reached in a publisher's epoch, in all and by topic. `wanted`: whether a topic is one subscribed to."""

    def __init__(self, wanted: Callable[[bytes], bool]) -> None:
        self.wanted = wanted
        self.out: deque[Received | Gap] = deque()
        """What goes out next, in order."""
        self.superseded = 0
        """Messages that were not had since a newer revision of their segment was there."""
        self.epoch: int | None = None
        self.covered = 0
        """The global sequence up to which everything has gone out or been told."""
        self.topics: dict[bytes, tuple[int, int]] = {}
        """Of each topic the last sequence and its global sequence."""
        self._left: deque[int] = deque(maxlen=64)

    def own_name(self, name: str) -> bytes:
        """A heartbeat names the full topics."""
        topic = name.encode()
        if self.wanted(topic) or not topic.startswith(b"prediction/"):
            return topic
        return b"redacted/" + topic[len(b"prediction/") :]

    def unknown(self, heartbeat: Heartbeat) -> dict[bytes, int]:
        """Sequences that a heartbeat tells and that have not been seen."""
        told = ((self.own_name(name), sequence) for name, sequence in heartbeat.topics.items())
        return {t: n for t, n in told if self.wanted(t) and self.topics.get(t, (0, 0))[0] < n}

    def is_past(self, epoch: int) -> bool:
        """Left behind, or passed over on the way to this one."""
        assert self.epoch is not None
        return epoch in self._left or (bool(self._left) and min(self._left) < epoch < self.epoch)

    def take_page(self, epoch: int, messages: list[Received], missing: dict[bytes, list[Missing]], upto: Position) -> None:
        """The part of a page that is of one publisher epoch."""
        for message in messages:
            topic, sequence = message.topic, message.header.sequence
            known = self.topics.get(topic)
            if not self.wanted(topic) or (known is not None and sequence <= known[0]):
                continue
            ranges = missing.get(topic, [])
            first = known[0] + 1 if known is not None else min([sequence, *(one.first for one in ranges)])
            self._tell_missing((epoch, topic), first, sequence - 1, ranges)
            self.deliver(message)
        for topic, ranges in missing.items():
            if not self.wanted(topic):
                continue
            known = self.topics.get(topic)
            first = known[0] + 1 if known is not None else min(one.first for one in ranges)
            last = max(one.last for one in ranges)
            if last >= first:
                self._tell_missing((epoch, topic), first, last, ranges)
                self.topics[topic] = (last, known[1] if known is not None else upto.global_sequence)

    def enter(self, epoch: int) -> bool:
        """Goes on to the next publisher epoch, in which sequences begin anew; False where it is there already."""
        if not epoch or epoch == self.epoch:
            return False
        if self.epoch is not None:
            self._left.append(self.epoch)
        self.epoch = epoch
        self.covered = 0
        self.topics = {}
        return True

    def _tell_missing(self, key: tuple[int, bytes], first: int, last: int, ranges: list[Missing]) -> None:
        """Gaps for what is missing from `first` to `last`, but for what is superseded."""
        for one in sorted((r for r in ranges if r.why == "superseded"), key=lambda r: r.first):
            if one.last < first or one.first > last:
                continue
            if one.first > first:
                self.gap(key, first, one.first - 1, "gone")
            self.superseded += min(one.last, last) - max(one.first, first) + 1
            first = one.last + 1
        if first <= last:
            self.gap(key, first, last, "gone")

    def gap(self, key: tuple[int, bytes], first: int, last: int, reason: str) -> None:
        """Tells what is missing of a topic in an epoch."""
        epoch, topic = key
        self.out.append(Gap(publisher_epoch=epoch, topic=topic.decode(errors="replace"), first=first, last=last, reason=reason))  # type: ignore[arg-type]

    def continues(self, message: Received) -> bool:
        """Whether it is the next of a topic that is known; it goes out then."""
        header = message.header
        last = self.topics.get(message.topic)
        if last is None or header.sequence != last[0] + 1 or header.publisher_epoch != self.epoch:
            return False
        self.deliver(message)
        return True

    def deliver(self, message: Received) -> None:
        """The next message of its topic goes out."""
        self.advance(message.topic, message.header)
        self.out.append(message)

    def advance(self, topic: bytes, header: Header) -> None:
        """The next message of its topic has gone out."""
        number = header.global_sequence
        self.topics[topic] = (header.sequence, number)
        if number == self.covered + 1:
            self.covered = number
