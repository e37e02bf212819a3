"""What the live door and the aligner make of a trace: its windows, each once in its last state, and what that cost."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from deploy.bench.alignment_trace import Event, Header, Trace, TracePacket, live_streams, modality_of
from stream.timeline.alignment import Aligner
from stream.timeline.live import DoorItem, LiveDoor, LiveSettings, Make, Place
from stream.timeline.packets import Modality, Packet
from stream.timeline.segments import Late, Output, Revision
from stream.timeline.settings import TimelineSettings, WindowSettings
from stream.timeline.time import Span
from stream.timeline.watermark import StreamDeclaration


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A window of the grid, with the numbers of the packets that lie in it, by stream."""

    start_ns: int
    end_ns: int
    packets: dict[str, list[int]]


class Alignment(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a trace."""

    windows: list[Window]
    """In order of start, each once."""
    decided_ns: dict[int, list[int]]
    """By start of window, when its final state and its amendment were decided."""
    uncertainty_ns: dict[tuple[str, int], int]
    """What was stated of each packet's place, by stream and number."""
    late: set[tuple[str, int]]
    refused: dict[str, int]
    unclaimed: dict[str, int]
    events: int
    seconds: float
    """CPU seconds inside the door and the aligner."""


def instant_ns(modality: Modality, start_ns: int, end_ns: int) -> int:
    """Where a packet lies, for the truth as for what was found: a frame at its start, a chunk or a word at its midpoint.

    The aligner cuts chunks by sample, so that one across a border is in both windows; it is counted in the one that
    has the larger part of it.
    """
    return start_ns if modality is Modality.VIDEO else (start_ns + end_ns) // 2


def align(trace: Trace) -> Alignment:
    """Runs a trace through the live door and the aligner."""
    session = LiveAlignment(trace.header, trace.events)
    gathered = Gathering(trace.header)
    begun = time.thread_time()
    outputs = [output for event in trace.events for output in session.push(event)] + session.close()
    seconds = time.thread_time() - begun
    for output in outputs:
        gathered.take(output)
    summary = session.aligner.ledger.summary()
    return Alignment(
        windows=gathered.windows(),
        decided_ns=gathered.decided_ns(),
        uncertainty_ns=session.uncertainty_ns,
        late=gathered.late,
        refused={name: count + summary[name].dropped.get("refused", 0) for name, count in session.door.refused.items()},
        unclaimed={name: counts.unclaimed for name, counts in summary.items()},
        events=len(trace.events),
        seconds=seconds,
    )


def peak_bytes(trace: Trace) -> int:
    """The most memory allocated at one time by door and aligner, in a run of its own."""
    session = LiveAlignment(trace.header, trace.events, keep_uncertainty=False)
    tracemalloc.start()
    try:
        for event in trace.events:
            session.push(event)
        session.close()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class LiveAlignment:
    """A live door and an aligner, fed with the events of a trace, of which only a packet's length is known of the truth."""

    def __init__(self, header: Header, events: Iterable[Event] = (), *, keep_uncertainty: bool = True) -> None:
        settings = TimelineSettings(segmentation=WindowSettings(length_ns=header.window_ns, hop_ns=header.window_ns))
        streams = live_streams(header)
        first = next(iter(events), None)
        self._now_ns = 0 if first is None else min(0, first.arrival_ns)
        self._keep_uncertainty = keep_uncertainty
        self.uncertainty_ns: dict[tuple[str, int], int] = {}
        self.door = LiveDoor(streams, LiveSettings(idle_after_ns=settings.idle_after_ns), start_ns=self._now_ns)
        self.aligner = Aligner([StreamDeclaration(name=s.name, modality=s.modality) for s in streams], settings)

    def push(self, event: Event) -> list[Output]:
        """Takes an event; gives what the aligner does."""
        self._now_ns = event.arrival_ns
        if isinstance(event, TracePacket):
            make = _maker(event.stream, event.seq)
            return self._align(
                self.door.push(event.stream, event.seq, event.device_ns, event.length_ns, make, event.arrival_ns)
            )
        return self._align(self.door.end(event.stream, event.arrival_ns))

    def close(self) -> list[Output]:
        """Ends what has not ended."""
        return self._align(self.door.close(self._now_ns)) + self.aligner.close(self._now_ns)

    def _align(self, given: list[DoorItem]) -> list[Output]:
        outputs: list[Output] = []
        for item, arrival_ns, uncertainty_ns in given:
            if self._keep_uncertainty and isinstance(item, Packet):
                self.uncertainty_ns[item.stream, item.sequence] = uncertainty_ns
            outputs += self.aligner.push(item, arrival_ns)
        return outputs


def _maker(stream: str, sequence: int) -> Make:
    def make(place: Place) -> Packet:
        return Packet(stream=stream, sequence=sequence, epoch=place.epoch, start_ns=place.start_ns, end_ns=place.end_ns)

    return make


class _Piece(NamedTuple):
    """The last state of a segment: a window, or the part of one before or behind a new source epoch, or a hole."""

    start_ns: int
    end_ns: int
    reason: str
    packets: dict[str, list[int]]


class Gathering:
    """Gathers the last state of each segment, and puts those of one window of the grid together."""

    def __init__(self, header: Header) -> None:
        self._window_ns = header.window_ns
        self._modalities = {name: modality_of(name, stream) for name, stream in header.streams.items()}
        self._pieces: dict[tuple[int, int], _Piece] = {}
        self._decided_ns: dict[int, list[int]] = {}
        self.late: set[tuple[str, int]] = set()

    def take(self, output: Output) -> None:
        """Takes what the aligner gives."""
        if isinstance(output, Late):
            self.late.add((output.stream, output.sequence))
        elif output.status in ("final", "amended"):
            self._decided_ns.setdefault(output.start_ns // self._window_ns, []).append(output.decided_ns)
            packets = {s.stream: self._inside(output, s.modality, s.packets) for s in output.slices}
            self._pieces[output.source_epoch, output.start_ns] = _Piece(output.start_ns, output.end_ns, output.reason, packets)

    def decided_ns(self) -> dict[int, list[int]]:
        """By start of window, when its states were decided."""
        return {index * self._window_ns: decided for index, decided in self._decided_ns.items()}

    def windows(self) -> list[Window]:
        """The windows of the grid, in order: each holds what its pieces hold; one within a hole holds nothing."""
        packets: dict[int, dict[str, list[int]]] = {}
        for piece in sorted(self._pieces.values(), key=lambda piece: piece.start_ns):
            if piece.reason == "end" and not any(piece.packets.values()):
                continue  # no window, only where the last packet ended
            for index in range(piece.start_ns // self._window_ns, -(-piece.end_ns // self._window_ns)):
                found = packets.setdefault(index, {name: [] for name in self._modalities})
                for name, numbers in piece.packets.items():
                    found[name] += [number for number in numbers if number not in found[name][-1:]]
        return [
            Window(start_ns=index * self._window_ns, end_ns=(index + 1) * self._window_ns, packets=found)
            for index, found in sorted(packets.items())
        ]

    def _inside(self, revision: Revision, modality: Modality, packets: Iterable[Packet]) -> list[int]:
        """Those that lie in the window: a chunk across its border is a member of both, one across a cut of both pieces."""
        first_ns = revision.start_ns // self._window_ns * self._window_ns
        window = Span(first_ns, first_ns + self._window_ns)
        return [p.sequence for p in packets if window.contains(instant_ns(modality, p.start_ns, p.end_ns))]
