"""Times: integer nanoseconds on the session's timeline; floats of seconds only at the edges."""

from __future__ import annotations

from typing import Final, NamedTuple

NS_PER_SECOND: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000
SAMPLE_RATE: Final = 16_000
"""Samples a second of all audio inside; one sample is exactly `NS_PER_SAMPLE` nanoseconds."""
NS_PER_SAMPLE: Final = NS_PER_SECOND // SAMPLE_RATE
ACTIVITY_STEP_SAMPLES: Final = 512
"""Samples of one step of the voice detector's grid (Silero at 16 kHz)."""
ACTIVITY_STEP_NS: Final = ACTIVITY_STEP_SAMPLES * NS_PER_SAMPLE


class Span(NamedTuple):
    """A half-open span [start_ns, end_ns) of session time."""

    start_ns: int
    end_ns: int

    @property
    def length_ns(self) -> int:
        """Length in nanoseconds."""
        return self.end_ns - self.start_ns

    def contains(self, instant_ns: int) -> bool:
        """Whether an instant lies inside."""
        return self.start_ns <= instant_ns < self.end_ns

    def overlap_ns(self, other: Span) -> int:
        """Nanoseconds that both spans share."""
        return max(0, min(self.end_ns, other.end_ns) - max(self.start_ns, other.start_ns))


def from_seconds(seconds: float) -> int:
    """Seconds to nanoseconds, rounded to the nearest."""
    return round(seconds * NS_PER_SECOND)


def to_seconds(ns: int) -> float:
    """Nanoseconds to seconds."""
    return ns / NS_PER_SECOND


def from_ticks(ticks: int, numerator: int, denominator: int) -> int:
    """Media ticks of `numerator / denominator` seconds to nanoseconds, exactly rounded down (integers throughout)."""
    return ticks * numerator * NS_PER_SECOND // denominator
