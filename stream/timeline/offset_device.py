"""A live device that is asked for its time: its clock from the answers, and the packets that wait for one."""

from __future__ import annotations

from stream.timeline.clock import DeviceClock, Reading, Verdict
from stream.timeline.clock_settings import ClockSettings, Latency
from stream.timeline.live_device import Converted, Damaged, Stamped


class OffsetDevice:
    """Converts the packets of one device by two-way offsets, whenever they arrive.

    A packet waits, `offset_wait_ns` at most, while no offset is known, or its stamp can't be of the map: its end would lie
    after its arrival, or so long before as no network holds anything back. The next offset may then tell of a reset.
    """

    def __init__(self, latency: Latency, settings: ClockSettings) -> None:
        self._latency = latency
        self._settings = settings
        self.turn = 0
        self._waiting: list[Stamped] = []
        self.restart()

    def restart(self) -> None:
        """Whoever stamps from here on has a clock of its own, of which nothing is known."""
        self._clock = DeviceClock(self._latency, self._settings)
        self.turn += 1

    @property
    def next_deadline_ns(self) -> int | None:
        """When something that waits will no longer."""
        return self._waiting[0].arrival_ns + self._settings.offset_wait_ns if self._waiting else None

    def holds(self, stream: str) -> bool:
        """Whether packets of a stream wait for the map."""
        return any(packet.stream == stream for packet in self._waiting)

    @property
    def waiting(self) -> int:
        """How many packets wait."""
        return len(self._waiting)

    def take(self, packet: Stamped) -> list[Converted | Damaged]:
        """Takes what arrived; gives what that decides."""
        if self._is_of_the_map(packet):
            return [self._convert(packet)]
        self._waiting.append(packet)
        return []

    def observe_offset(self, device_ns: int, offset_ns: int, uncertainty_ns: int) -> list[Converted | Damaged]:
        """Takes an answer, session time less the device's at `device_ns`, true within `uncertainty_ns`."""
        verdict = self._clock.observe_offset(device_ns, offset_ns, uncertainty_ns)
        if verdict is Verdict.HELD and any(self._bears_out(packet, offset_ns) for packet in self._waiting):
            # What arrived since its clock was reset says the same: no second answer is needed, which may be long in coming.
            verdict = self._clock.observe_offset(device_ns, offset_ns, uncertainty_ns)
        if verdict is Verdict.RESET:
            self.turn += 1
        of_it = [packet for packet in self._waiting if self._is_of_the_map(packet)]
        self._waiting = [packet for packet in self._waiting if packet not in of_it]
        return [self._convert(packet) for packet in of_it]

    def advance(self, now_ns: int) -> list[Converted | Damaged]:
        """Decides what has waited for too long."""
        overdue_ns = now_ns - self._settings.offset_wait_ns
        overdue = [packet for packet in self._waiting if packet.arrival_ns <= overdue_ns]
        self._waiting = [packet for packet in self._waiting if packet.arrival_ns > overdue_ns]
        return list(map(Damaged, overdue))

    def finish(self, stream: str) -> list[Converted | Damaged]:
        """Decides what waits of a stream that has ended."""
        mine = [packet for packet in self._waiting if packet.stream == stream]
        self._waiting = [packet for packet in self._waiting if packet.stream != stream]
        return list(map(Damaged, mine))

    def _is_of_the_map(self, packet: Stamped) -> bool:
        if not self._clock.settled:
            return False
        reading = self._clock.peek(packet.end_ns)
        return self._can_be(packet.arrival_ns - reading.session_ns, reading.uncertainty_ns)

    def _bears_out(self, packet: Stamped, offset_ns: int) -> bool:
        return self._can_be(packet.offset_ns - offset_ns, 0)

    def _can_be(self, delay_ns: int, uncertainty_ns: int) -> bool:
        """Whether a packet may have been so long under way."""
        return -self._settings.early_ns - uncertainty_ns <= delay_ns <= self._settings.burst_ns + uncertainty_ns

    def _convert(self, packet: Stamped) -> Converted:
        start: Reading = self._clock.convert(packet.stamp_ns)
        end = self._clock.convert(packet.end_ns) if packet.length_ns else start
        uncertainty_ns = max(start.uncertainty_ns, end.uncertainty_ns)
        return Converted(packet, self.turn, start.session_ns, end.session_ns, uncertainty_ns)
