"""The numbers of the clock maps, each with its unit and its reason, and what is known beforehand of a device."""

from __future__ import annotations

import msgspec

from stream.errors import SettingsError
from stream.timeline.time import NS_PER_MS, NS_PER_SECOND


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """How long what a device captures takes to its stamp and, for arrivals, on the fastest way from there to the reader.

    Configured, or calibrated by a clap. Whatever is not known of it goes into the uncertainty, which is stated as a
    half-width, not as a standard deviation.
    """

    latency_ns: int = 0
    uncertainty_ns: int = 0

    def __post_init__(self) -> None:
        if self.uncertainty_ns < 0:
            raise SettingsError(
                "uncertainty of a device's latency", found=self.uncertainty_ns, expected="nanoseconds, 0 or more"
            )


class ClockSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How observations of a device's clock become its map to session time (design, section 4, rule 12)."""

    slew: float = 500e-6
    """Share by which corrections may speed up or slow down the output: no ear or model notices half a millisecond a second."""
    rate_window_ns: int = 120 * NS_PER_SECOND
    """How far back the rate looks: longer, and the crystal's temperature has changed; shorter, and jitter shows."""
    block_ns: int = 200 * NS_PER_MS
    """Of the observations in such a stretch one is kept, the least delayed: bounds memory and work."""
    floor_blocks: int = 150
    """So many of the newest blocks (30 s of a live camera) say where the floor of the delay is."""
    refit_ns: int = NS_PER_SECOND
    """At most so long from one fit to the next; a young map is fitted more often."""
    rate_uncertainty: float = 100e-6
    """Of a device nobody has seen yet: crystals are sold within 20 to 100 ppm."""
    reset_rate_uncertainty: float = 20e-6
    """After a reset or a long silence the rate is known from before, but for the temperature."""
    rate_wander: float = 1e-6
    """How far the rate of a crystal moves within the window."""
    rate_limit: float = 0.01
    """No clock is so far off; keeps the output going forward whatever is observed."""
    jitter_ns: int = 50 * NS_PER_MS
    """Delay of an arrival over the least one, before any has been seen: a busy wireless network."""
    offset_noise_ns: int = 500_000
    """Error of a two-way offset, before the scatter of any has been seen: a few probes over a local network."""
    rank: int = 8
    """The floor is as uncertain as the gap from its lowest to its `rank`-th lowest block, whatever the law of the jitter."""
    settle_ns: int = NS_PER_SECOND
    """Arrivals over so long bring the floor within a few milliseconds; who converts nothing before it has nothing to slew."""
    reorder_ns: int = 200 * NS_PER_MS
    """A stamp so much older than the newest is of a picture out of order; beyond it the clock went back."""
    interleave_ns: int = 5 * NS_PER_SECOND
    """How far the tracks of a container may lie apart when the second of them begins; that of `TimelineSettings`."""
    early_ns: int = 50 * NS_PER_MS
    """Earlier than predicted by more than this, and than what is stated, is no jitter: slewing it away would take minutes.
    Less is what the least delay of a network may itself win back: `jitter_ns`."""
    burst_ns: int = 5 * NS_PER_SECOND
    """The same before anything was converted: what a source holds back while it connects comes late, all at once."""
    late_ns: int = NS_PER_SECOND
    """Later than predicted by more than this is a network that stalls, or a clock that was set back."""
    late_for_ns: int = 5 * NS_PER_SECOND
    """A network that stalled catches up in less; when all has been late for so long, the clock was set back."""
    offset_wait_ns: int = 10 * NS_PER_SECOND
    """So long a packet waits for an answer of a device that is asked for its time: two rounds of Lab Streaming Layer's."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value <= 0:
                raise SettingsError(f"clock setting {name}", found=value, expected="a positive number")
        if self.slew >= 0.1:
            raise SettingsError("clock setting slew", found=self.slew, expected="a share below 0.1, such as 500e-6")
