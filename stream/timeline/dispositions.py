"""The ledger: what became of every packet. Each gets exactly one disposition, and the sums are checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, cast

import msgspec

from stream.errors import TimelineError
from stream.timeline.packets import Packet

Disposition = Literal["used", "dropped", "late", "unclaimed"]
DropReason = Literal["refused", "policy", "shed", "sampling"]
Observer = Callable[[str, int, int, Disposition, DropReason | None], None]
"""Called with stream, epoch, sequence, disposition and reason when a packet's disposition is decided."""


class StreamDispositions(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the packets of one stream: `received` is the sum of the others; `dropped` by reason."""

    received: int
    used: int
    dropped: dict[DropReason, int]
    late: int
    unclaimed: int
    pending: int


class _Counts:
    __slots__ = ("dropped", "late", "pending", "received", "unclaimed", "used")

    def __init__(self) -> None:
        self.received = self.used = self.late = self.unclaimed = self.pending = 0
        self.dropped: dict[DropReason, int] = {}


class Ledger:
    """Counts per stream. What is received is pending until it is decided."""

    def __init__(self, observer: Observer | None = None) -> None:
        self._observer = observer
        self._counts: dict[str, _Counts] = {}

    def declare(self, stream: str) -> None:
        """Lists a stream, also while nothing of it has come."""
        self._of(stream)

    def received(self, stream: str, n: int = 1) -> None:
        """`n` packets came; they are pending until they are decided."""
        counts = self._of(stream)
        counts.received += n
        counts.pending += n

    def dropped(self, stream: str, reason: DropReason, n: int = 1) -> None:
        """`n` packets that had been received, and are not known one by one, were dropped before the door."""
        counts = self._of(stream)
        if n > counts.pending:
            raise TimelineError(
                f"dropped packets of stream {stream!r}", found=n, expected=f"at most the {counts.pending} received and pending"
            )
        counts.pending -= n
        counts.dropped[reason] = counts.dropped.get(reason, 0) + n

    def received_and_dropped(self, stream: str, reason: DropReason, n: int = 1) -> None:
        """`n` packets came and were dropped before the door."""
        self.received(stream, n)
        self.dropped(stream, reason, n)

    def decide(
        self, stream: str, packets: Sequence[Packet], disposition: Disposition, reason: DropReason | None = None
    ) -> None:
        """Pending packets of one stream get their disposition; `reason` where they are dropped."""
        counts = self._of(stream)
        counts.pending -= len(packets)
        if disposition == "dropped":
            why = cast(DropReason, reason)
            counts.dropped[why] = counts.dropped.get(why, 0) + len(packets)
        else:
            setattr(counts, disposition, getattr(counts, disposition) + len(packets))
        if self._observer is not None:
            for packet in packets:
                self._observer(stream, packet.epoch, packet.sequence, disposition, reason)

    def summary(self) -> dict[str, StreamDispositions]:
        """The counts of each stream. Raises `TimelineError` where they don't add up."""
        return {stream: _checked(stream, counts) for stream, counts in self._counts.items()}

    def _of(self, stream: str) -> _Counts:
        counts = self._counts.get(stream)
        if counts is None:
            counts = self._counts[stream] = _Counts()
        return counts


def _checked(stream: str, counts: _Counts) -> StreamDispositions:
    total = counts.used + sum(counts.dropped.values()) + counts.late + counts.unclaimed + counts.pending
    if total != counts.received or counts.pending < 0:
        raise TimelineError(
            f"dispositions of stream {stream!r}", found=f"{total} decided or pending", expected=f"{counts.received} received"
        )
    return StreamDispositions(
        received=counts.received,
        used=counts.used,
        dropped=dict(counts.dropped),
        late=counts.late,
        unclaimed=counts.unclaimed,
        pending=counts.pending,
    )
