"""The numbers of a session's runtime, each with its unit and its reason; those of the rooms below are held as they are."""

from __future__ import annotations

import msgspec

from stream.errors import SettingsError
from stream.recording.ring import RingSettings
from stream.timeline.settings import TimelineSettings
from stream.timeline.time import NS_PER_MS, NS_PER_SECOND


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the session engine allows to be under way."""

    budget_bytes: int = 16 << 20
    """Compressed bytes between the reader and the door: seconds of high-quality video."""
    budget_span_ns: int = 2 * NS_PER_SECOND
    """Session time between the reader and the door: decoded pictures stay in memory for so long (1080p: 160 MB)."""
    group_span_ns: int = NS_PER_SECOND
    """Session time that goes to the operators in one piece where nobody waits for it: an operator that works on one stretch
    keeps its weights in the core's cache (voice activity: .18 ms a step, against .28 where threads take turns)."""
    predictions_under_way: int = 24
    """Revisions between the aligner and whoever iterates; beyond it the aligner waits. One batch of the fusion, and those
    that are being heard meanwhile."""
    batch_patience_s: float = 2.0
    """Wall-clock time for which a segment waits to be fused together with others, where nobody waits for it: the 42 MB of the
    text encoder's weights come from memory once for all of them (11 ms a text alone, 4.3 among seven, which come together in
    this time). In real time, and of media without a length, none waits."""
    call_deadline_s: float = 60.0
    """After which an operator that gives no answer counts as failed; a slow machine needs a second for 15 s of speech."""
    stop_deadline_s: float = 1.0
    """How long a session that is stopped waits for its reader; one that hears nothing from a pipe or a network is left."""


class SheddingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a live session that is behind leaves something out (design, section 5)."""

    thresholds_ns: tuple[int, int, int, int, int, int] = (
        NS_PER_SECOND,
        3 * NS_PER_SECOND // 2,
        2 * NS_PER_SECOND,
        3 * NS_PER_SECOND,
        5 * NS_PER_SECOND,
        8 * NS_PER_SECOND,
    )
    """How far behind each step of the ladder begins: the age of the oldest thing that came and is not done. The first is more
    than 15 s of speech take to be heard; what costs a viewer least goes first."""
    leave_share: float = 0.5
    """A step is left below this share of where it begins."""
    calm_ns: int = 2 * NS_PER_SECOND
    """For so long; a face operator that just keeps up would flicker otherwise."""

    def __post_init__(self) -> None:
        if list(self.thresholds_ns) != sorted(self.thresholds_ns) or self.thresholds_ns[0] <= 0:
            raise SettingsError("setting thresholds_ns", found=self.thresholds_ns, expected="positive numbers that grow")


class LiveReadingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What waits between live sources and the session."""

    most_pictures: int = 50
    """Decoded pictures that wait; the oldest go first. Two seconds of a camera, 300 MB at 1080p."""
    most_at_once: int = 64
    """Packets that go to the operators in one piece, where so many wait."""
    tick_ns: int = 250 * NS_PER_MS
    """How long the session waits at most before it looks whether something has become due: a viewer's patience."""
    hole_ns: int = 30 * NS_PER_SECOND
    """What waits longer than this is skipped in one piece, and published as a hole: nobody waits for it any more."""
    uncertainty_step_ns: int = NS_PER_MS // 10
    """The clocks' uncertainty is told in such steps: finer, it would change with every packet."""


class HeapSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the process's heap treats large blocks."""

    mmap_bytes: int = 8 << 20
    """Blocks from this size on are the system's own, page by page, and go back at once: what a network's layers need for the
    longest utterances. From 1 MB on it would cost 3 % of the pipeline's CPU in page faults."""
    trim_bytes: int = 64 << 20
    """Free memory at the heap's end beyond which it goes back: less would be given back and fetched with every call."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a session is configured with."""

    timeline: TimelineSettings = TimelineSettings()
    engine: EngineSettings = EngineSettings()
    shedding: SheddingSettings = SheddingSettings()
    live: LiveReadingSettings = LiveReadingSettings()
    ring: RingSettings | None = RingSettings()
    """What a live session that is not recorded keeps for later; None for nothing."""
