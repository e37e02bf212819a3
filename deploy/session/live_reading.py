"""Live sources on the monotonic clock: a thread each, arrivals stamped as things come, the live door, drops by policy."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import msgspec

from deploy.session.reading import Read
from deploy.settings import LiveReadingSettings
from stream.recording.entries import Dropped
from stream.recording.schemas import ClockObservation
from stream.sources.live import Capture, Captured, Disconnected, LiveSource
from stream.timeline.dispositions import DropReason
from stream.timeline.live import DoorItem, LiveDoor
from stream.timeline.live_device import Place
from stream.timeline.packets import Bound, Packet, VideoFrame
from stream.timeline.time import NS_PER_SECOND


class _Arrival(msgspec.Struct, eq=False):
    """What came, and when."""

    arrival_ns: int
    capture: Capture


class LiveReading:
    """Reads live sources from their first packet to their end; iterate `reads` once, in the reader's thread.

    Nobody makes a source wait. Of the pictures that wait here only the newest stay. When what waits is older than
    `hole_ns`, all that devices sent is skipped, and a new source epoch begins, so that the aligner publishes the hole.
    `now_ns` tells the session's monotonic time, 0 at its start.
    """

    def __init__(
        self,
        sources: Sequence[LiveSource],
        door: LiveDoor,
        now_ns: Callable[[], int],
        settings: LiveReadingSettings = LiveReadingSettings(),  # noqa: B008 - immutable
    ) -> None:
        self.now_ns = now_ns
        self.heed: Callable[[Sequence[ClockObservation]], None] | None = None
        """Called with what was observed of the devices' clocks, where somebody wants to know."""
        self.sources = sources
        self._door = door
        self._settings = settings
        self._streams = {stream.name: stream for source in sources for stream in source.live_streams}
        self._changed = threading.Condition()
        self._waiting: deque[_Arrival] = deque()
        self._pictures: deque[_Arrival] = deque()
        self._reading = len(sources)
        self._failure: BaseException | None = None
        self._closed = False
        self._refused = dict(door.refused)
        self._dropped: Counter[tuple[str, DropReason]] = Counter()
        self._skipped: Counter[str] = Counter()

    def reads(self) -> Iterator[list[Read]]:
        """What has come, in order of arrival, as items in session time; where nothing comes, a tick now and then.

        Raises what a source raised, after what came before it.
        """
        for source in self.sources:
            threading.Thread(target=self._listen, args=(source,), name="live-source", daemon=True).start()
        while (arrivals := self._next()) is not None:
            if self.heed is not None and (observations := self._observations(arrivals)):
                self.heed(observations)
            group = [read for arrival in arrivals for read in self._take(arrival)] if arrivals else self._tick()
            if group:
                yield group
        now_ns = self.now_ns()
        yield self._as_reads(now_ns, self._door.close(now_ns))
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Lets `reads` come to its end, from any thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for source in self.sources:
            source.close()

    def _listen(self, source: LiveSource) -> None:
        """A source's thread."""
        failure: BaseException | None = None
        try:
            while not self._closed and (captures := source.read()) is not None:
                self._put(captures)
        except BaseException as error:  # raised again where the session is iterated
            failure = error
        with self._changed:
            if not self._closed:
                self._failure = self._failure or failure
            self._reading -= 1
            self._changed.notify_all()

    def _put(self, captures: Sequence[Capture]) -> None:
        with self._changed:
            # Stamped under the lock, so that what waits is in order of arrival.
            arrival_ns = self.now_ns()
            for capture in captures:
                arrival = _Arrival(arrival_ns, capture)
                self._waiting.append(arrival)
                if isinstance(capture, Captured) and isinstance(capture.packet, VideoFrame):
                    self._pictures.append(arrival)
            while len(self._pictures) > self._settings.most_pictures:
                oldest = self._pictures.popleft()
                oldest.capture = _without_content(oldest.capture)
            self._changed.notify_all()

    def _next(self) -> list[_Arrival] | None:
        """What waits, as soon as something does; empty where nothing came for a tick; None at the end."""
        with self._changed:
            tick_s = self._settings.tick_ns / NS_PER_SECOND
            self._changed.wait_for(lambda: bool(self._waiting) or self._closed or not self._reading, tick_s)
            if self._closed or not (self._reading or self._waiting):
                return None
            if self._waiting and self.now_ns() - self._waiting[0].arrival_ns > self._settings.hole_ns:
                self._skip()
            taken: list[_Arrival] = []
            while self._waiting and len(taken) < self._settings.most_at_once:
                taken.append(self._waiting.popleft())
                if self._pictures and self._pictures[0] is taken[-1]:
                    self._pictures.popleft()
            return taken

    def _skip(self) -> None:
        """Lets everything go that devices have sent, in one piece; what is stamped in session time stays."""
        kept: deque[_Arrival] = deque()
        for arrival in self._waiting:
            name = arrival.capture.stream
            if self._streams[name].device is None:
                kept.append(arrival)
            elif isinstance(arrival.capture, Captured):
                self._skipped[name] += 1
        now_ns = self.now_ns()
        devices = [name for name, stream in self._streams.items() if stream.device is not None]
        kept.extend(_Arrival(now_ns, Disconnected(stream=name)) for name in devices)
        self._waiting = kept
        self._pictures.clear()

    def _take(self, arrival: _Arrival) -> list[Read]:
        capture, arrival_ns = arrival.capture, arrival.arrival_ns
        if isinstance(capture, Disconnected):
            return self._as_reads(arrival_ns, self._door.end(capture.stream, arrival_ns))
        packet = capture.packet
        length_ns = packet.end_ns - packet.start_ns
        if type(packet) is Packet:
            self._dropped[packet.stream, "policy"] += 1
        given = self._door.push(packet.stream, capture.sequence, packet.start_ns, length_ns, _maker(packet), arrival_ns)
        return self._as_reads(arrival_ns, given)

    def _observations(self, arrivals: Sequence[_Arrival]) -> list[ClockObservation]:
        return [
            ClockObservation(capture.stream, capture.packet.end_ns, arrival.arrival_ns)
            for arrival in arrivals
            if isinstance(capture := arrival.capture, Captured) and self._streams[capture.stream].device is not None
        ]

    def _tick(self) -> list[Read]:
        with self._changed:
            if self._waiting:
                return []  # the door would take what waits for missing
            now_ns = self.now_ns()
        return self._as_reads(now_ns, self._door.advance(now_ns))

    def _as_reads(self, now_ns: int, given: Sequence[DoorItem]) -> list[Read]:
        """What the door gave up to `now_ns`: a read for each arrival, the last with what was dropped since the one before."""
        reads = [Read(at_ns, [each.item for each in items], 0) for at_ns, items in groupby(given, lambda each: each.arrival_ns)]
        if not reads or reads[-1].arrival_ns < now_ns:
            reads.append(Read(now_ns, [], 0))
        return [*reads[:-1], msgspec.structs.replace(reads[-1], dropped=self._drops(), uncertainty_ns=self._uncertainty_ns())]

    def _drops(self) -> tuple[Dropped, ...]:
        """What was left out before the aligner's door, and has not been told."""
        dropped, self._dropped = self._dropped, Counter()
        with self._changed:
            skipped, self._skipped = self._skipped, Counter()
        for name, count in skipped.items():
            dropped[name, "shed"] += count
        for name, count in self._door.refused.items():
            dropped[name, "refused"] += count - self._refused[name]
            self._refused[name] = count
        return tuple(Dropped(stream=stream, reason=reason, count=count) for (stream, reason), count in dropped.items() if count)

    def _uncertainty_ns(self) -> int:
        """The clocks' stated uncertainty, rounded up: what is steady is told as steady."""
        step_ns = self._settings.uncertainty_step_ns
        return -(-max(map(self._door.uncertainty_ns, self._streams), default=0) // step_ns) * step_ns


def _without_content(capture: Capture) -> Capture:
    """The place of a packet whose content is let go."""
    assert isinstance(capture, Captured)
    packet = capture.packet
    bare = Packet(stream=packet.stream, sequence=packet.sequence, start_ns=packet.start_ns, end_ns=packet.end_ns)
    return Captured(packet=bare, sequence=capture.sequence)


def _maker(packet: Packet) -> Callable[[Place], Packet | Bound]:
    """What makes the packet of its place in session time; of one that was let go, the bound."""

    def make(place: Place) -> Packet | Bound:
        if type(packet) is Packet:
            return Bound(stream=packet.stream, bound_ns=place.start_ns)
        return msgspec.structs.replace(packet, start_ns=place.start_ns, end_ns=place.end_ns, epoch=place.epoch)

    return make
