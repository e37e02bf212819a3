"""A live source stream at the door: its packets in order, its bound and epoch, and where its packets lie."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count

import msgspec

from stream.errors import SettingsError
from stream.timeline.live_device import Converted, LiveDevice, Place
from stream.timeline.offset_device import OffsetDevice
from stream.timeline.packets import Modality
from stream.timeline.time import NS_PER_MS
from stream.timeline.watermark import NEVER_NS


class LiveStream(msgspec.Struct, frozen=True, kw_only=True):
    """A live source stream. `device` names the clock that stamps it; without one, it is stamped in session time."""

    name: str
    modality: Modality
    device: str | None = None
    reorder_ns: int = 200 * NS_PER_MS
    """How long, in arrival time, its packets wait for one that was sent before them; those in order do not wait."""

    def __post_init__(self) -> None:
        if self.reorder_ns < 0:
            raise SettingsError(f"reorder_ns of stream {self.name!r}", found=self.reorder_ns, expected="0 ns or more")


class LiveSource:
    """A declared stream's state. `turn` is the map of its device that its epoch belongs to, -1 while it is connected anew."""

    def __init__(self, declared: LiveStream, device: LiveDevice | OffsetDevice | None, start_ns: int) -> None:
        self.name = declared.name
        self.is_text = declared.modality is Modality.TEXT
        self.device = device
        self.turn = device.turn if device else 0
        self.epoch = 0
        self.alive_ns = start_ns
        """When it last gave something, or became active: what is refused does not keep it alive."""
        self.idle = False
        self.ended = False
        self.bound_ns = NEVER_NS
        self.uncertainty_ns = 0
        """Of the newest packet that was given."""
        self._reorder_ns = declared.reorder_ns
        self._queue: list[tuple[int, int, Converted]] = []
        self._ties = count()
        self._expected = 0
        self._end_ns = 0
        # Where its epoch begins. Nothing can lie before it: a reading that does, within what is uncertain, lies on it.
        self._floor_ns = 0
        self._floor_uncertainty_ns = 0

    @property
    def waited_for(self) -> bool:
        """Whether it is neither idle nor ended."""
        return not (self.idle or self.ended)

    @property
    def waiting(self) -> int:
        """How many packets wait for one before them."""
        return len(self._queue)

    @property
    def holds(self) -> bool:
        """Whether packets of it wait, for their map or for one before them."""
        return bool(self._queue) or (self.device is not None and self.device.holds(self.name))

    @property
    def next_release_ns(self) -> int | None:
        """When those that are missing are given up."""
        if not self._queue:
            return None
        return min(converted.packet.arrival_ns for _, _, converted in self._queue) + self._reorder_ns

    def enqueue(self, converted: Converted) -> None:
        """Takes a packet, to be given in order of sequence number."""
        heappush(self._queue, (converted.packet.sequence, next(self._ties), converted))

    def release(self, now_ns: int, *, everything: bool = False) -> Iterator[Converted]:
        """Gives what is next in order, and what has waited for so long that those before it are given up."""
        while self._queue:
            overdue_ns = self.next_release_ns
            assert overdue_ns is not None
            if not (everything or self._queue[0][0] <= self._expected or overdue_ns <= now_ns):
                break
            sequence, _, converted = heappop(self._queue)
            self._expected = max(self._expected, sequence + 1)
            yield converted

    def place(self, converted: Converted) -> Place | None:
        """Where a packet lies, which raises the bound; None for one behind it, or of an epoch gone by."""
        start_ns = converted.start_ns
        if start_ns < self._floor_ns <= start_ns + converted.uncertainty_ns + self._floor_uncertainty_ns:
            start_ns = self._floor_ns
        if start_ns < self.bound_ns or converted.turn < self.turn:
            return None
        end_ns = max(start_ns, converted.end_ns)
        self.bound_ns, self.uncertainty_ns = start_ns, converted.uncertainty_ns
        self._end_ns = max(self._end_ns, end_ns)
        return Place(start_ns, end_ns, self.epoch, converted.uncertainty_ns)

    def begin(self, epoch: int, turn: int, at_ns: int) -> None:
        """Begins a source epoch."""
        self.turn, self.epoch = turn, epoch
        self.bound_ns = self._floor_ns = max(self.bound_ns, at_ns)
        self._floor_uncertainty_ns = self.uncertainty_ns

    def end(self) -> int:
        """Ends the stream; where: behind all that it gave, an instant at its very end being 1 ns long."""
        self.ended, self.idle = True, False
        self.bound_ns = max(self._end_ns, self.bound_ns + 1, 0)
        return self.bound_ns

    def revive(self) -> None:
        """A stream that had ended goes on: the next packet that is given begins an epoch."""
        self.ended = False
        self.turn = -1
