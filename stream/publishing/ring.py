"""What a publisher still has: the newest revision of each segment and all events, bounded. Pure: no sockets, no clocks."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from typing import NamedTuple

import msgspec

from stream.publishing.replay import PAGE_BYTES, PAGE_MESSAGES, PAGE_PLACES, Missing, Why
from stream.publishing.wire import Position

SILENT_EPOCHS = 64


class RingLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much is kept for those who ask; what is over the first limit reached goes, oldest first."""

    messages: int = 65_536
    """Half a minute at 2 000 a second, hours of one session."""
    bytes: int = 64 << 20
    """Of payload; about as much as that many messages have."""
    age_s: float = 900.0
    """Longer than a subscriber's restart, shorter than a history: that is the recorder's."""
    topics: int = 65_536
    """Topics of which the last sequence that has gone is remembered."""


class _Slot:
    """A message's place. Without frames it is `superseded` or, where the queue was full, `gone` from the start."""

    __slots__ = ("added_s", "frames", "segment", "sequence", "topic")

    def __init__(self, topic: bytes, sequence: int, segment: Hashable, added_s: float, frames: list[bytes] | None) -> None:
        self.topic = topic
        self.sequence = sequence
        self.segment = segment
        self.added_s = added_s
        self.frames = frames


_REFUSED = object()
"""Stands for the segment of a message that was given a place and never sent."""


class _Epoch:
    """The slots of one publisher epoch, by global sequence, without a hole from `first` to `last`."""

    def __init__(self, epoch: int, previous: Position | None) -> None:
        self.epoch = epoch
        self.previous = previous
        self.first = 1
        self.last = 0
        self.slots: dict[int, _Slot] = {}
        self.evicted: OrderedDict[bytes, tuple[int, int, int]] = OrderedDict()
        """By topic: the last sequence that is gone, the last that was superseded, the global sequence of the later one."""


class Selection(NamedTuple):
    """What `Ring.select` found."""

    entries: list[list[bytes]]
    """Frames of each."""
    missing: list[Missing]
    upto: Position
    more: bool
    lost: bool


class Ring:
    """Keeps messages in order of position and gives out those after a position."""

    def __init__(self, limits: RingLimits) -> None:
        self.limits = limits
        self.bytes = 0
        self._epochs: deque[_Epoch] = deque()
        self._newest: dict[Hashable, tuple[int, int]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def end(self) -> Position | None:
        """Position of the last message, None before the first epoch."""
        return Position(self._epochs[-1].epoch, self._epochs[-1].last) if self._epochs else None

    def begin(self, epoch: int, previous: Position | None) -> None:
        """A new publisher epoch, which follows on `previous`."""
        self._epochs.append(_Epoch(epoch, previous))

    def add(self, number: int, sequence: int, frames: list[bytes], segment: Hashable, now_s: float) -> None:
        """Takes the next message of the present epoch, `number` its global sequence.

        `segment` is the identity, within its topic, of what it is a revision of (None: an event); the revision before it
        becomes superseded.
        """
        epoch = self._epochs[-1]
        if number != epoch.last + 1:
            self._fill(epoch, number, now_s)
        topic = frames[0]
        key = None
        if segment is not None:
            key = (topic, segment)
            old = self._newest.get(key)
            if old is not None:
                self._supersede(*old)
            self._newest[key] = (epoch.epoch, number)
        epoch.slots[number] = _Slot(topic, sequence, key, now_s, frames)
        epoch.last = number
        self._count += 1
        self.bytes += len(frames[1])
        self.trim(now_s)

    def trim(self, now_s: float) -> None:
        """Lets go of what is over a limit."""
        limits = self.limits
        while self._count:
            # An epoch that never said anything stays: without it, the chain of epochs would have a hole.
            while not self._epochs[0].slots and (self._epochs[0].last or len(self._epochs) > SILENT_EPOCHS):
                self._epochs.popleft()
            epoch = next(epoch for epoch in self._epochs if epoch.slots)
            if (
                self._count <= limits.messages
                and self.bytes <= limits.bytes
                and now_s - epoch.slots[epoch.first].added_s <= limits.age_s
            ):
                return
            self._evict(epoch)

    def select(self, after: Position, until: Position | None, prefixes: tuple[bytes, ...]) -> Selection:
        """A page of what came after a position, on topics that begin with one of the prefixes."""
        end = self.end
        if end is None:
            return Selection([], [], after, False, False)
        stop = end if until is None else min(until, end)
        lost = self._lost(after)
        entries: list[list[bytes]] = []
        missing: list[tuple[int, bytes, int, Why]] = []
        size = 0
        whole: list[Missing] = []
        places = 0
        upto = max(after, stop) if after <= end else end
        for epoch in list(self._epochs):
            if epoch.epoch < after.publisher_epoch or epoch.epoch > stop.publisher_epoch:
                continue
            first = after.global_sequence + 1 if epoch.epoch == after.publisher_epoch else 1
            last = stop.global_sequence if epoch.epoch == stop.publisher_epoch else epoch.last
            if first < epoch.first:
                whole += self._before(epoch, first, prefixes)
            for number in range(max(first, epoch.first), min(last, epoch.last) + 1):
                if len(entries) >= PAGE_MESSAGES or size >= PAGE_BYTES or places >= PAGE_PLACES:
                    upto = Position(epoch.epoch, number - 1)
                    return Selection(entries, whole + _ranges(missing), upto, True, lost)
                places += 1
                slot = epoch.slots[number]
                if not slot.topic.startswith(prefixes):
                    continue
                if slot.frames is None:
                    missing.append((epoch.epoch, slot.topic, slot.sequence, _why(slot)))
                    continue
                entries.append(slot.frames)
                size += len(slot.frames[1])
        return Selection(entries, whole + _ranges(missing), upto, False, lost)

    def _lost(self, after: Position) -> bool:
        if after == Position(0, 0) or any(epoch.epoch == after.publisher_epoch for epoch in self._epochs):
            return False
        return after < Position(self._epochs[0].epoch, 0) and self._epochs[0].previous != after

    def _before(self, epoch: _Epoch, first: int, prefixes: tuple[bytes, ...]) -> Iterator[Missing]:
        for topic, (gone, superseded, number) in epoch.evicted.items():
            if number >= first and topic.startswith(prefixes):
                name = topic.decode()
                if gone:
                    yield Missing(publisher_epoch=epoch.epoch, topic=name, first=1, last=gone, why="gone")
                if superseded > gone:
                    yield Missing(publisher_epoch=epoch.epoch, topic=name, first=gone + 1, last=superseded, why="superseded")

    def _fill(self, epoch: _Epoch, number: int, now_s: float) -> None:
        """Numbers that nobody told about stay without a topic; nothing can be said of them but that they are not there."""
        for absent in range(epoch.last + 1, number):
            epoch.slots[absent] = _Slot(b"", 0, _REFUSED, now_s, None)
            self._count += 1

    def _supersede(self, epoch_number: int, number: int) -> None:
        for epoch in self._epochs:
            if epoch.epoch == epoch_number and number in epoch.slots:
                slot = epoch.slots[number]
                if slot.frames is not None:
                    self.bytes -= len(slot.frames[1])
                    slot.frames = None

    def _evict(self, epoch: _Epoch) -> None:
        number = epoch.first
        slot = epoch.slots.pop(number)
        epoch.first += 1
        self._count -= 1
        if slot.frames is not None:
            self.bytes -= len(slot.frames[1])
            if self._newest.get(slot.segment) == (epoch.epoch, number):
                del self._newest[slot.segment]
        if not slot.topic:
            return
        gone, superseded, _ = epoch.evicted.pop(slot.topic, (0, 0, 0))
        if slot.frames is None and _why(slot) == "superseded":
            superseded = slot.sequence
        else:
            gone = slot.sequence
        epoch.evicted[slot.topic] = (gone, superseded, number)
        if len(epoch.evicted) > self.limits.topics:
            epoch.evicted.popitem(last=False)


def _why(slot: _Slot) -> Why:
    return "gone" if slot.segment is _REFUSED else "superseded"


def _ranges(missing: list[tuple[int, bytes, int, Why]]) -> list[Missing]:
    """Sequences that follow each other as one range."""
    ranges: list[tuple[int, bytes, int, Why]] = []
    lasts: list[int] = []
    newest: dict[tuple[int, bytes], int] = {}
    for epoch, topic, sequence, why in missing:
        at = newest.get((epoch, topic))
        if at is not None and lasts[at] == sequence - 1 and ranges[at][3] == why:
            lasts[at] = sequence
            continue
        newest[epoch, topic] = len(ranges)
        ranges.append((epoch, topic, sequence, why))
        lasts.append(sequence)
    return [
        Missing(publisher_epoch=epoch, topic=topic.decode(), first=first, last=last, why=why)
        for (epoch, topic, first, why), last in zip(ranges, lasts, strict=True)
    ]
