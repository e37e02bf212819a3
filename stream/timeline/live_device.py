"""A live device: its clock, and the packets that wait until the clock says when they were captured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from stream.timeline.clock import DeviceClock, Verdict
from stream.timeline.clock_settings import ClockSettings, Latency
from stream.timeline.packets import Bound, Packet


class Place(NamedTuple):
    """Where a live packet lies: its span of session time, its source epoch, the stated uncertainty (half-width)."""

    start_ns: int
    end_ns: int
    epoch: int
    uncertainty_ns: int


Make = Callable[[Place], Packet | Bound]


class Stamped(NamedTuple):
    """A packet as it arrived: stamped at its start by its device (or in session time), `length_ns` long."""

    stream: str
    sequence: int
    stamp_ns: int
    length_ns: int
    make: Make
    arrival_ns: int

    @property
    def end_ns(self) -> int:
        """The stamp of its end."""
        return self.stamp_ns + self.length_ns

    @property
    def offset_ns(self) -> int:
        """Its arrival less the stamp of its end."""
        return self.arrival_ns - self.end_ns


class Converted(NamedTuple):
    """A packet whose span is known. `turn` counts the maps of its device: a new one is a new source epoch."""

    packet: Stamped
    turn: int
    start_ns: int
    end_ns: int
    uncertainty_ns: int


class Damaged(NamedTuple):
    """A packet whose stamp is to be believed under no map."""

    packet: Stamped


class _Before(NamedTuple):
    """The map before the newest, as a constant: good for the stragglers of so short a time."""

    offset_ns: int
    uncertainty_ns: int
    latency_ns: int
    new_offset_ns: int
    until_ns: int


class LiveDevice:
    """Converts the packets of one device. Three kinds of them wait.

    *Unsettled* ones for their map, `settle_ns` of arrival time at most. One that is *undecided* for the next to tell
    whether its stamp was damaged or the clock was reset. *Doubted* ones, which the next one did not confirm, for
    `reorder_ns`: where packets overtake each other, those before and after a reset arrive mixed.
    """

    def __init__(self, latency: Latency, settings: ClockSettings) -> None:
        self._latency = latency
        self._settings = settings
        self.turn = 0
        self._unsettled: list[Stamped] = []
        self._undecided: Stamped | None = None
        self._doubted: list[Stamped] = []
        self._before: _Before | None = None
        self.restart()

    def restart(self) -> None:
        """Whoever stamps from here on has a clock of its own: a device that was connected anew."""
        self._clock = DeviceClock(self._latency, self._settings)
        self._is_open = False
        self._before = None
        self._newest: Converted | None = None
        self._ends_ns: dict[str, int] = {}
        self.turn += 1

    @property
    def next_deadline_ns(self) -> int | None:
        """When something that waits will no longer."""
        due = [packet.arrival_ns + self._settings.reorder_ns for packet in self._doubted[:1]]
        due += [packet.arrival_ns + self._settings.settle_ns for packet in self._unsettled[:1]]
        return min(due, default=None)

    def holds(self, stream: str) -> bool:
        """Whether packets of a stream wait for the map."""
        return any(packet.stream == stream for packet in self._unsettled)

    @property
    def waiting(self) -> int:
        """How many packets wait."""
        return len(self._unsettled) + len(self._doubted) + (self._undecided is not None)

    def take(self, packet: Stamped) -> list[Converted | Damaged]:
        """Takes what arrived; gives what that decides."""
        if self._is_straggler(packet):
            return [self._convert_before(packet)]
        decided: list[Converted | Damaged] = []
        if self._lies_behind(packet):
            verdict = Verdict.FITS
        else:
            verdict = self._clock.observe(packet.end_ns, packet.arrival_ns)
            if verdict is Verdict.RESET:
                self._ends_ns.clear()
        if verdict is not Verdict.HELD:
            self._ends_ns[packet.stream] = max(packet.end_ns, self._ends_ns.get(packet.stream, packet.end_ns))
        if verdict is Verdict.FITS:
            self._unsettled.append(packet)
            self._doubt()
        elif verdict is Verdict.HELD:
            decided += self._convert_unsettled()  # should the clock have been reset, this map will soon be gone
            self._doubt()
            self._undecided = packet
        else:
            self._doubt()
            decided += self._begin(packet)
        if self._is_open or self._clock.settled:
            decided += self._convert_unsettled()
        return decided

    def advance(self, now_ns: int) -> list[Converted | Damaged]:
        """Decides what has waited for too long."""
        decided: list[Converted | Damaged] = []
        if self._unsettled and self._unsettled[0].arrival_ns + self._settings.settle_ns <= now_ns:
            decided += self._convert_unsettled()
        while self._doubted and self._doubted[0].arrival_ns + self._settings.reorder_ns <= now_ns:
            decided.append(Damaged(self._doubted.pop(0)))
        return decided

    def finish(self, stream: str) -> list[Converted | Damaged]:
        """Decides what waits, now that a stream has ended."""
        self._doubt()
        mine = [packet for packet in self._doubted if packet.stream == stream]
        self._doubted = [packet for packet in self._doubted if packet.stream != stream]
        return [*self._convert_unsettled(), *map(Damaged, mine)]

    def _lies_behind(self, packet: Stamped) -> bool:
        """Whether it comes after what another stream of the device has captured later: how late says nothing of the clock.

        A container is interleaved as its writer likes, seconds apart; each of its streams is in order by itself.
        """
        others = [end_ns for name, end_ns in self._ends_ns.items() if name != packet.stream]
        own_ns = self._ends_ns.get(packet.stream)
        if not others or packet.end_ns > max(others):
            return False
        if own_ns is None:
            return max(others) - packet.end_ns <= self._settings.interleave_ns
        return packet.end_ns >= own_ns - self._settings.reorder_ns

    def _doubt(self) -> None:
        if self._undecided is not None:
            self._doubted.append(self._undecided)
            self._undecided = None

    def _begin(self, packet: Stamped) -> Iterable[Damaged]:
        """A new map: what was doubted either is of it too, or was damaged."""
        old = self._newest
        if old is not None:
            self._before = _Before(
                offset_ns=old.start_ns - old.packet.stamp_ns,
                uncertainty_ns=old.uncertainty_ns,
                latency_ns=self._latency.latency_ns,
                new_offset_ns=packet.offset_ns,
                until_ns=packet.arrival_ns + self._settings.reorder_ns,
            )
        of_it = [p for p in self._doubted if abs(p.offset_ns - packet.offset_ns) < self._settings.late_ns]
        damaged = [Damaged(p) for p in self._doubted if p not in of_it]
        self._doubted.clear()
        self._unsettled = [*of_it, packet]
        self._newest = None
        self._is_open = False
        self.turn += 1
        return damaged

    def _is_straggler(self, packet: Stamped) -> bool:
        """Whether it was overtaken by the reset of its clock, so that the map before is the one to convert it."""
        before = self._before
        if before is None or packet.arrival_ns > before.until_ns:
            return False
        from_old_ns = packet.offset_ns - before.offset_ns - before.latency_ns
        return abs(from_old_ns) < abs(packet.offset_ns - before.new_offset_ns)

    def _convert_before(self, packet: Stamped) -> Converted:
        assert self._before is not None
        start_ns = packet.stamp_ns + self._before.offset_ns
        return Converted(packet, self.turn - 1, start_ns, start_ns + packet.length_ns, self._before.uncertainty_ns)

    def _convert_unsettled(self) -> list[Converted]:
        waited, self._unsettled = self._unsettled, []
        converted = [self._convert(packet) for packet in waited]
        if converted:
            self._is_open = True
            self._newest = converted[-1]
        return converted

    def _convert(self, packet: Stamped) -> Converted:
        start = self._clock.convert(packet.stamp_ns)
        end = self._clock.convert(packet.end_ns) if packet.length_ns else start
        uncertainty_ns = max(start.uncertainty_ns, end.uncertainty_ns)
        return Converted(packet, self.turn, start.session_ns, end.session_ns, uncertainty_ns)
