"""The map from a device's clock to session time: rate in full, corrections slewed, never backwards (rule 12)."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final, NamedTuple

from stream.errors import TimelineError
from stream.timeline.clock_line import Line, Observations, Rate, floor_line, middle_line
from stream.timeline.clock_settings import ClockSettings, Latency

_PIECES: Final = 32
"""Of the output that are kept for stamps out of order; `reorder_ns` holds a dozen at most."""
_YOUNG: Final = 16
"""A map is fitted anew when it has grown by this part of its age."""


class Verdict(Enum):
    """What an observation says of its clock.

    `FITS`: the packet can be converted. `HELD`: its stamp is far from the prediction and not believed until the next one
    confirms it; keep the packet. `RESET`: it and the one held (if any) are the first of a new map, hence of a new source
    epoch; any other verdict after `HELD` means that the packet held was damaged.
    """

    FITS = "fits"
    HELD = "held"
    RESET = "reset"


class Reading(NamedTuple):
    """An instant of session time and the half-width around it that holds the true one (95 % or better)."""

    session_ns: int
    uncertainty_ns: int


class _Observation(NamedTuple):
    device_ns: int
    offset_ns: int
    uncertainty_ns: int


class _Piece(NamedTuple):
    """From x on, y = start + rate (x - from), plus `slew` a x until `slewing_ns` have passed."""

    from_ns: int
    start_ns: float
    slew: float
    slewing_ns: float
    line: Line
    latency: Latency

    def at(self, x_ns: int) -> float:
        past_ns = x_ns - self.from_ns
        return self.start_ns + self.line.rate.rate * past_ns + self.slew * min(max(past_ns, 0), self.slewing_ns)

    def uncertainty(self, x_ns: int, wander: float) -> float:
        owed_ns = abs(self.slew) * (self.slewing_ns - min(max(x_ns - self.from_ns, 0), self.slewing_ns))
        return self.latency.uncertainty_ns + self.line.uncertainty(x_ns, wander) + owed_ns


class DeviceClock:
    """The clock of one device. A function of the calls in their order: no clock is read.

    `observe` each stamp of the device, and `convert` it when it fits; or for devices that are asked for the time
    (Lab Streaming Layer, NTP) `observe_offset` each answer and `convert` any stamp. Whoever can, waits for `settled`
    before the first `convert` of an epoch: until then the map may still step.
    """

    def __init__(self, latency: Latency | None = None, settings: ClockSettings | None = None) -> None:
        self._settings = settings or ClockSettings()
        self._latency = latency or Latency()
        self._two_way: bool | None = None
        self._arrival_ns: int | None = None
        self._held: _Observation | None = None
        self._late_since_ns: int | None = None
        self._line: Line | None = None
        self._newest_ns = self._fixed_ns = self._refit_ns = 0
        self._pinned = False
        self._before = Rate(0.0, self._settings.rate_uncertainty)

    @property
    def settled(self) -> bool:
        """Whether enough has been observed in this epoch that little is left to slew."""
        if self._line is None or self._two_way:
            return self._line is not None
        # By its arrivals too: what was held back while it connected comes all at once, the oldest the latest.
        assert self._arrival_ns is not None
        arrived_ns = self._arrival_ns - (self._zero.device_ns + self._zero.offset_ns)
        return min(self._newest_ns, arrived_ns) >= self._settings.settle_ns

    @property
    def rate(self) -> float:
        """Seconds of session time that pass in a second of the device, less one."""
        return self._before.rate if self._line is None else self._line.rate.rate

    def calibrate(self, latency: Latency) -> None:
        """From the next fit on another latency holds (measured by a clap, say); the output is slewed to it."""
        self._latency = latency

    def observe(self, device_ns: int, arrival_ns: int) -> Verdict:
        """Take a device's stamp and the session time at which it arrived.

        Stamp the end of what a packet holds (the last sample of a chunk): it can't have arrived before.
        Raises `TimelineError` when an arrival goes back, or after `observe_offset`.
        """
        if self._arrival_ns is not None and arrival_ns < self._arrival_ns:
            raise TimelineError("arrival of an observation", found=arrival_ns, expected=f"{self._arrival_ns} or later")
        self._arrival_ns = arrival_ns
        self._is_two_way(False)
        return self._judge(_Observation(device_ns, arrival_ns - device_ns, 0))

    def observe_offset(self, device_ns: int, offset_ns: int, uncertainty_ns: int = 0) -> Verdict:
        """Take an answer of the device: session time less its own at `device_ns`, true within `uncertainty_ns`.

        The uncertainty is half the round trip, where known. Raises `TimelineError` after `observe`.
        """
        self._is_two_way(True)
        return self._judge(_Observation(device_ns, offset_ns, uncertainty_ns))

    def convert(self, device_ns: int) -> Reading:
        """Session time of a stamp; raises `TimelineError` before the first observation.

        Within an epoch a later stamp never gets an earlier time, in whatever order they are asked for (down to
        `reorder_ns` before the newest). What is converted ahead of the observations is fixed by that.
        """
        reading = self.peek(device_ns)
        self._pinned = True
        self._fixed_ns = max(self._fixed_ns, device_ns - self._zero.device_ns)
        return reading

    def peek(self, device_ns: int) -> Reading:
        """What `convert` would give, which fixes nothing; raises `TimelineError` before the first observation."""
        if self._line is None:
            raise TimelineError("clock of a device", found="no observation", fix="observe a stamp before converting one")
        x_ns = device_ns - self._zero.device_ns
        piece = self._pieces[-1]
        if x_ns < piece.from_ns:
            piece = next((p for p in reversed(self._pieces) if x_ns >= p.from_ns), self._pieces[0])
        session_ns = device_ns + self._zero.offset_ns + round(piece.at(x_ns))
        return Reading(session_ns, round(piece.uncertainty(x_ns, self._settings.rate_wander)))

    def _is_two_way(self, two_way: bool) -> None:
        if self._two_way is None:
            self._two_way = two_way
        elif self._two_way is not two_way:
            raise TimelineError(
                "clock of a device", found="arrivals and two-way offsets", fix="give each device's clock one or the other"
            )

    def _judge(self, seen: _Observation) -> Verdict:
        if self._line is None:
            self._begin([seen])
            return Verdict.FITS
        held, self._held = self._held, None
        far_ns = self._far_ns(seen)
        if far_ns == 0:
            self._late_since_ns = None
            self._take(seen)
            return Verdict.FITS
        if self._is_late(seen, far_ns):
            return self._endure(seen)
        if held is not None and abs(seen.offset_ns - held.offset_ns) < min(abs(far_ns), self._settings.late_ns):
            self._begin([held, seen])
            return Verdict.RESET
        self._held = seen
        return Verdict.HELD

    def _far_ns(self, seen: _Observation) -> float:
        """How far from the prediction an observation is where that is too far, 0 where it is near enough."""
        assert self._line is not None
        settings = self._settings
        x_ns = seen.device_ns - self._zero.device_ns
        off_ns = seen.offset_ns - self._zero.offset_ns - self._line.at(x_ns)
        back = x_ns < self._newest_ns - settings.reorder_ns
        # Until something has been given out, whatever comes earlier just shows the floor.
        told_ns = settings.early_ns + self._line.uncertainty(x_ns, settings.rate_wander)
        early = off_ns < -(told_ns if self._pinned or self._two_way else settings.burst_ns)
        late = off_ns > (told_ns if self._two_way else settings.late_ns)
        return off_ns if back or early or late else 0.0

    def _is_late(self, seen: _Observation, far_ns: float) -> bool:
        """Whether it may just have been long under way: its clock went on, its arrival hung."""
        forward = seen.device_ns - self._zero.device_ns >= self._newest_ns - self._settings.reorder_ns
        return not self._two_way and forward and far_ns > 0

    def _endure(self, seen: _Observation) -> Verdict:
        """A late arrival says nothing of the floor, unless all that comes is late."""
        arrival_ns = seen.device_ns + seen.offset_ns
        if self._late_since_ns is None:
            self._late_since_ns = arrival_ns
        if arrival_ns - self._late_since_ns >= self._settings.late_for_ns:
            self._begin([seen])
            return Verdict.RESET
        self._newest_ns = max(self._newest_ns, seen.device_ns - self._zero.device_ns)
        self._fixed_ns = max(self._fixed_ns, self._newest_ns)
        return Verdict.FITS

    def _begin(self, first: list[_Observation]) -> None:
        """A new map; of the one before only the rate is kept, as something known beforehand."""
        if self._line is not None:
            known = max(self._line.rate.uncertainty, self._settings.reset_rate_uncertainty)
            self._before = Rate(self._line.rate.rate, known)
        self._zero = first[0]
        self._observations = Observations(self._settings)
        self._pieces: deque[_Piece] = deque(maxlen=_PIECES)
        self._newest_ns = self._fixed_ns = self._refit_ns = 0
        self._pinned = False
        self._late_since_ns = None
        self._line = Line(0.0, 0.0, self._before, float(self._settings.jitter_ns))
        for seen in first:
            self._take(seen)

    def _take(self, seen: _Observation) -> None:
        assert self._line is not None
        settings = self._settings
        x_ns = seen.device_ns - self._zero.device_ns
        y_ns = seen.offset_ns - self._zero.offset_ns
        if x_ns - self._newest_ns > settings.rate_window_ns:  # nothing of the window is left
            self._before = Rate(self._line.rate.rate, max(self._line.rate.uncertainty, settings.reset_rate_uncertainty))
        badness = seen.uncertainty_ns if self._two_way else y_ns - self._line.rate.rate * x_ns
        self._observations.add(x_ns, y_ns, seen.uncertainty_ns, badness)
        if x_ns > self._newest_ns:
            self._newest_ns = x_ns
            if x_ns > self._fixed_ns:
                self._fixed_ns = x_ns
        if x_ns >= self._refit_ns:
            fit = middle_line if self._two_way else floor_line
            self._line = fit(self._observations.window(), self._before, settings)
            self._follow(self._line)
            self._refit_ns = x_ns + min(x_ns // _YOUNG, settings.refit_ns)

    def _follow(self, line: Line) -> None:
        """From here on the output tends to a new line: at once while nobody has seen any output, else by slewing."""
        from_ns = self._fixed_ns
        target_ns = line.at(from_ns) - self._latency.latency_ns
        start_ns = self._pieces[-1].at(from_ns) if self._pinned else target_ns
        owed_ns = target_ns - start_ns
        slew = self._settings.slew if owed_ns > 0 else -self._settings.slew
        if not self._pinned:
            self._pieces.clear()
        self._pieces.append(_Piece(from_ns, start_ns, slew, abs(owed_ns) / self._settings.slew, line, self._latency))
