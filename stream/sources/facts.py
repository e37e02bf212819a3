"""What a container states about itself and the tracks that are read of it: all that a media source goes by but the packets."""

from __future__ import annotations

import re
from fractions import Fraction

import av
import msgspec
from av.container import InputContainer

from stream.sources.address import Kind
from stream.sources.door import clock_resets, declares_length
from stream.timeline.time import NS_PER_SECOND, from_seconds, from_ticks

_NS_PER_US = 1_000
_LENGTH_TAG = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")


class TrackFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A track's time base (seconds a tick), its usual length of a frame, and where the header says that it ends.

    `declared_end_ns` is on the container's clock; both are None where it says nothing. `quarter_turns`: by how much the
    pictures of recorded media are to be turned, beside what each says itself.
    """

    numerator: int
    denominator: int
    frame_ns: int | None
    declared_end_ns: int | None
    quarter_turns: int = 0

    @property
    def time_base(self) -> Fraction:
        """Seconds a tick."""
        return Fraction(self.numerator, self.denominator)

    def ns(self, ticks: int) -> int:
        """Ticks to nanoseconds of the container's clock."""
        return from_ticks(ticks, self.numerator, self.denominator)


class MediaFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A container: `kind` of its address, whether its clock resets and its header states a length, its start and duration.

    `start_ns` is on the container's clock, exact; None where it is unknown.
    """

    kind: Kind
    resets: bool
    declares: bool
    start_ns: int | None
    duration_ns: int | None
    video: TrackFacts | None
    audio: TrackFacts | None


def facts_of(container: InputContainer, kind: Kind, video: av.VideoStream | None, audio: av.AudioStream | None) -> MediaFacts:
    """The facts of an open container, of which these two tracks are read."""
    return MediaFacts(
        kind=kind,
        resets=clock_resets(container),
        declares=declares_length(container),
        start_ns=_start_ns(container),
        duration_ns=None if container.duration is None else container.duration * _NS_PER_US,
        video=None if video is None else _track_facts(video),
        audio=None if audio is None else _track_facts(audio),
    )


def _track_facts(track: av.VideoStream | av.AudioStream) -> TrackFacts:
    rate = (track.average_rate or track.guessed_rate) if isinstance(track, av.VideoStream) else None
    numerator, denominator = (1, av.time_base) if track.time_base is None else track.time_base.as_integer_ratio()
    facts = TrackFacts(
        numerator=numerator,
        denominator=denominator,
        frame_ns=int(NS_PER_SECOND / rate) if rate else None,
        declared_end_ns=None,
    )
    return msgspec.structs.replace(facts, declared_end_ns=_declared_end_ns(track, facts))


def _declared_end_ns(track: av.VideoStream | av.AudioStream, facts: TrackFacts) -> int | None:
    tag = _LENGTH_TAG.match(track.metadata.get("DURATION", ""))
    if tag:  # Matroska: FFmpeg gives such tracks the container's length otherwise, subtitles included
        hours, minutes, seconds = tag.groups()
        return from_seconds(int(hours) * 3600 + int(minutes) * 60 + float(seconds))
    return None if track.duration is None else facts.ns((track.start_time or 0) + track.duration)


def _start_ns(container: InputContainer) -> int | None:
    """FFmpeg rounds the start to a microsecond; the tracks have it exactly."""
    if container.start_time is None:
        return None
    rounded_ns = container.start_time * _NS_PER_US
    exact = [
        from_ticks(track.start_time, track.time_base.numerator, track.time_base.denominator)
        for track in container.streams
        if track.start_time is not None and track.time_base is not None
    ]
    return min((ns for ns in exact if abs(ns - rounded_ns) <= _NS_PER_US), default=rounded_ns)
