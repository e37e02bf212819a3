"""Membership: which packets of a stream belong to a span, how much of it they cover, and what is retained for that."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import numpy as np

from stream.timeline.packets import AudioChunk, Modality, Packet, SpeechActivity
from stream.timeline.segments import Slice, SliceState, Status
from stream.timeline.time import NS_PER_SAMPLE, Span
from stream.timeline.watermark import StreamState


def extent(packet: Packet, modality: Modality) -> tuple[int, int]:
    """The half-open span of instants by which a packet belongs to segments: it is a member of each that overlaps it.

    That is all of an audio chunk, the midpoint of a word, and the start of anything else, instants being 1 ns long.
    """
    if modality is Modality.AUDIO:
        return packet.start_ns, packet.end_ns
    instant_ns = (packet.start_ns + packet.end_ns) // 2 if modality is Modality.TEXT else packet.start_ns
    return instant_ns, instant_ns + 1


class Retained:
    """The packets of one stream that a segment can still claim, in order of start, then of arrival.

    Each is marked once it is counted as used. What is found for a span costs no more than what it holds.
    """

    def __init__(self, modality: Modality) -> None:
        self._modality = modality
        self._packets: list[Packet] = []
        self._starts: list[int] = []
        self._used = bytearray()
        self._head = 0  # what lies before it has been let go
        # Ends are not sorted, but no member begins further before its span than the longest packet reaches.
        self._reach_ns = 1

    @property
    def span_ns(self) -> int:
        """Newest less oldest start."""
        return self._starts[-1] - self._starts[self._head] if self._head < len(self._starts) else 0

    def take(self, packet: Packet, *, used: bool) -> None:
        """Retains a packet, which starts no earlier than those before it."""
        self._packets.append(packet)
        self._starts.append(packet.start_ns)
        self._used.append(used)
        if self._modality is Modality.AUDIO or self._modality is Modality.TEXT:
            self._reach_ns = max(self._reach_ns, packet.end_ns - packet.start_ns)

    def members(self, span: Span) -> tuple[Packet, ...]:
        """The packets that belong to `span`."""
        return tuple(map(self._packets.__getitem__, self._indices(span)))

    def use(self, span: Span) -> list[Packet]:
        """Marks the members of `span` as used; gives those that had not been."""
        used = self._used
        fresh = [index for index in self._indices(span) if not used[index]]
        for index in fresh:
            used[index] = True
        return [self._packets[index] for index in fresh]

    def release(self, before_ns: int) -> None:
        """Lets go what belongs to nothing that ends after `before_ns`."""
        while self._head < len(self._packets) and extent(self._packets[self._head], self._modality)[1] <= before_ns:
            self._head += 1
        if 2 * self._head > len(self._packets):
            del self._packets[: self._head], self._starts[: self._head], self._used[: self._head]
            self._head = 0

    def discard(self, lost: Callable[[int, int], bool]) -> list[Packet]:
        """Lets go, and gives, the unused packets whose extent is `lost`."""
        kept, gone = [], []
        for index in range(self._head, len(self._packets)):
            packet = self._packets[index]
            if not self._used[index] and lost(*extent(packet, self._modality)):
                gone.append(packet)
            else:
                kept.append(index)
        self._packets = [self._packets[index] for index in kept]
        self._starts = [self._starts[index] for index in kept]
        self._used = bytearray(self._used[index] for index in kept)
        self._head = 0
        return gone

    def _indices(self, span: Span) -> Iterable[int]:
        first = bisect_left(self._starts, span.start_ns - self._reach_ns + 1, self._head)
        last = bisect_left(self._starts, span.end_ns, first)
        if self._modality is Modality.AUDIO:
            inside = bisect_left(self._starts, span.start_ns, first, last)
            reaching_in = [index for index in range(first, inside) if self._packets[index].end_ns > span.start_ns]
            return [*reaching_in, *range(inside, last)]
        if self._modality is Modality.TEXT:
            return [index for index in range(first, last) if span.contains(extent(self._packets[index], Modality.TEXT)[0])]
        return range(first, last)


def slice_of(stream: StreamState, packets: tuple[Packet, ...], span: Span, status: Status, max_gap_ns: int) -> Slice:
    """What `stream` holds of `span` in a revision of that status."""
    heard = _heard(packets)
    behind = stream.modality is Modality.TEXT and not stream.ended and stream.bound_ns < span.end_ns
    state: SliceState = "present" if heard else "absent"
    if behind and (status == "final" or (status == "provisional" and not heard)):
        state = "pending"
    return Slice(
        stream=stream.name,
        modality=stream.modality,
        state=state,
        absence=stream.absence if state == "absent" else None,
        coverage=coverage(heard, stream.modality, span, max_gap_ns),
        packets=packets,
    )


def coverage(packets: Sequence[Packet], modality: Modality, span: Span, max_gap_ns: int) -> float:
    """Share of `span` that packets in order of start cover: a frame what is nearer than `max_gap_ns`, others themselves."""
    radius_ns = max_gap_ns if modality is Modality.VIDEO else 0
    covered_ns, position_ns = 0, span.start_ns
    for packet in packets:
        start_ns = packet.start_ns - radius_ns
        end_ns = packet.start_ns + radius_ns if radius_ns else packet.end_ns
        if end_ns > position_ns:
            if start_ns > position_ns:
                position_ns = start_ns
            if end_ns >= span.end_ns:
                covered_ns += span.end_ns - position_ns
                break
            covered_ns += end_ns - position_ns
            position_ns = end_ns
    return covered_ns / span.length_ns


def audio_samples(packets: Iterable[Packet], span: Span) -> tuple[np.ndarray, np.ndarray]:
    """The sound of a span: int16 (n,) samples at 16 kHz from its start on, and bool (n,), True where it was heard.

    n is the span's length in samples, rounded up; where no chunk lies, or a filled one, there are zeros and False.
    """
    count = -(-span.length_ns // NS_PER_SAMPLE)
    samples, heard = np.zeros(count, np.int16), np.zeros(count, np.bool_)
    for chunk in packets:
        if isinstance(chunk, AudioChunk):
            piece = chunk.slice_samples(span.start_ns, span.end_ns)
            skipped = max(0, -((chunk.start_ns - span.start_ns) // NS_PER_SAMPLE))
            place = (chunk.start_ns + skipped * NS_PER_SAMPLE - span.start_ns) // NS_PER_SAMPLE
            samples[place : place + len(piece)] = piece
            heard[place : place + len(piece)] = not chunk.filled
    return samples, heard


def _heard(packets: Sequence[Packet]) -> Sequence[Packet]:
    """Those of one stream that say something: neither a gap that was filled nor a step inside one."""
    if packets and isinstance(packets[0], AudioChunk):
        return [chunk for chunk in cast(Sequence[AudioChunk], packets) if not chunk.filled]
    if packets and isinstance(packets[0], SpeechActivity):
        return [step for step in cast(Sequence[SpeechActivity], packets) if not step.masked]
    return packets
