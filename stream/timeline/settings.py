"""The numbers of the timeline, each with its unit and its reason."""

from __future__ import annotations

from typing import Literal

import msgspec

from stream.errors import SettingsError
from stream.timeline.time import NS_PER_MS, NS_PER_SECOND, Span


class UtteranceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How speech activity becomes utterances and silence windows (design, section 4, rule 6)."""

    threshold: float = 0.5
    """Speech probability from which a step counts as speech; the detector's own operating point."""
    pad_ns: int = 200 * NS_PER_MS
    """Kept before the first and after the last step of speech: the detector hears onsets and releases late."""
    shortest_ns: int = 250 * NS_PER_MS
    """Speech (steps added up) before which nothing is published: below it are clicks, not words."""
    longest_ns: int = 15 * NS_PER_SECOND
    """An utterance is cut before it gets longer: transcribers loop beyond."""
    hang_over_ns: int = 700 * NS_PER_MS
    """Silence after which an utterance is over; at 500 ms the demo clip's last sentence is cut and misheard."""
    cut_search_ns: int = 2 * NS_PER_SECOND
    """Where the cut of a longest utterance looks back for the lowest probability."""
    silence_ns: int = 2 * NS_PER_SECOND
    """Length of the windows where nobody speaks (and of the grid where there is no audio)."""

    def __post_init__(self) -> None:
        if self.hang_over_ns < self.pad_ns:
            raise SettingsError("setting hang_over_ns", found=self.hang_over_ns, expected=f"at least pad_ns, {self.pad_ns}")
        least_ns = self.pad_ns + self.cut_search_ns
        if self.longest_ns <= least_ns:
            raise SettingsError("setting longest_ns", found=self.longest_ns, expected=f"more than pad + cut_search, {least_ns}")


class WindowSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Fixed windows [k * hop, k * hop + length) of session time."""

    length_ns: int = 2 * NS_PER_SECOND
    hop_ns: int = 2 * NS_PER_SECOND


class LineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of a given transcript, in order of start; silence windows of `silence_ns` between them."""

    lines: tuple[Span, ...]
    silence_ns: int = 2 * NS_PER_SECOND


SegmentationSettings = UtteranceSettings | WindowSettings | LineSettings


class TimelineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When segments become provisional, final, amended and frozen (rules 8 and 9)."""

    segmentation: SegmentationSettings = UtteranceSettings()
    cadence_ns: int = NS_PER_SECOND
    """Between provisional revisions: faster than a viewer reads, slower than the operators work."""
    text_lateness_ns: int = 3 * NS_PER_SECOND
    """How long, in arrival time, words from outside hold a segment that is otherwise ready."""
    amend_ns: int = 10 * NS_PER_SECOND
    """In arrival time after a final whose text is pending: when it is amended with what came."""
    max_gap_ns: int = 500 * NS_PER_MS
    """A frame covers the instants nearer than this; two face picks at 5 a second are 200 ms apart."""
    idle_after_ns: int = 1_500 * NS_PER_MS
    """A live source that gave nothing for so long is idle (decided at the edge, here only for the retention bound)."""
    interleave_ns: int = 5 * NS_PER_SECOND
    """How far a container's tracks may lie apart before the one behind counts as idle."""
    lookback_ns: int = 2 * NS_PER_SECOND
    """The longest lookback of any operator before the aligner."""
    listener_ns: int = 0
    """Length of the windows that each visible person has who does not speak; 0: nobody has any."""
    listener_gone_ns: int = 2 * NS_PER_SECOND
    """Not seen for so long a person is gone: more than the tracker waits for somebody hidden, and a pick."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, int) and value < (name != "listener_ns"):
                raise SettingsError(f"setting {name}", found=value, expected="a positive number of nanoseconds")
        if self.listener_gone_ns < self.max_gap_ns:
            least_ns = self.max_gap_ns
            raise SettingsError(
                "setting listener_gone_ns", found=self.listener_gone_ns, expected=f"at least max_gap_ns, {least_ns}"
            )

    @property
    def longest_segment_ns(self) -> int:
        """The longest span that a segment of this policy can have."""
        policy = self.segmentation
        if isinstance(policy, UtteranceSettings):
            return max(policy.longest_ns, policy.silence_ns)
        if isinstance(policy, WindowSettings):
            return policy.length_ns
        return max([line.length_ns for line in policy.lines] + [policy.silence_ns])

    @property
    def retention_ns(self) -> int:
        """The most event time that any stream may hold: beyond it the aligner raises and names the stream."""
        hang_over = self.segmentation.hang_over_ns if isinstance(self.segmentation, UtteranceSettings) else 0
        return (
            2 * self.longest_segment_ns
            + hang_over
            + self.idle_after_ns
            + self.text_lateness_ns
            + self.amend_ns
            + self.interleave_ns
            + self.lookback_ns
        )


SegmentationName = Literal["utterances", "windows", "lines"]
