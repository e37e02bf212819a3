"""The limits of the media and transcript doors, each with its unit and its reason."""

from __future__ import annotations

import msgspec

from stream.errors import SettingsError
from stream.timeline.time import NS_PER_MS, NS_PER_SECOND


class MediaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the media door lets in, and how it reads a container's clock."""

    max_pixels: int = 4096 * 2304
    """Pixels of a frame: 4K passes; 8192x8192 takes gigabytes to decode and shows no face better."""
    min_side: int = 16
    """Pixels of a frame's shorter side below which it is dropped: no face that small can be read."""
    max_frame_rate: int = 250
    """Frames a second; nearer ones are dropped. 240 is the fastest that cameras of people record."""
    max_tracks: int = 64
    """Tracks of a container, of any kind: each costs a decoder while it is probed."""
    min_sample_rate: int = 4_000
    """Samples a second: below it there is no speech (telephones use 8000)."""
    max_sample_rate: int = 384_000
    """Samples a second: the fastest that sound cards record."""
    max_channels: int = 64
    """Channels of an audio track: the most that FFmpeg mixes down."""
    max_duration_ns: int = 48 * 3600 * NS_PER_SECOND
    """Declared or read: longer than any session, shorter than what a broken clock states."""
    interleave_ns: int = 5 * NS_PER_SECOND
    """How far the container is read beyond a track before that track counts as idle (skews of a second are normal)."""
    audio_tolerance_ns: int = 40 * NS_PER_MS
    """How far time stamps may stray from the count of samples: one video frame; clocks in containers are coarse."""
    max_backward_ns: int = NS_PER_SECOND
    """A track's time stamps that go back by more are a new source epoch; by less, disorder, which is dropped."""
    max_leap_ns: int = NS_PER_SECOND
    """Time stamps that go beyond everything read by more are believed once the next one confirms them."""
    max_forward_ns: int = 30 * NS_PER_SECOND
    """Time stamps that go beyond everything read by more are a new source epoch; by less, a pause."""
    max_jump_ns: int = 3600 * NS_PER_SECOND
    """The longest jump forward where the container declares no length: a long intermission. A longer one, or one beyond the
    declared length, is damage or a clock set anew, and the session goes on where it is."""
    cut_tolerance_ns: int = 500 * NS_PER_MS
    """How much a container may declare beyond what it holds: headers round, last frames have no length."""
    open_timeout_ns: int = 15 * NS_PER_SECOND
    """How long a network source may take to answer and be probed."""
    read_timeout_ns: int = 10 * NS_PER_SECOND
    """How long a network source may give nothing before it counts as over."""
    index_bytes: int = 32 << 10
    """What FFmpeg may remember of each track's places, of which reading from front to end needs none. By itself it keeps
    1 MB: memory grows for the first half hour of a session."""
    decoder_threads: int = 1
    """Threads of each decoder: more finish a file sooner and take more CPU-seconds, of which sessions share few."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value <= 0:
                raise SettingsError(f"setting {name}", found=value, expected="a positive number")


class TranscriptSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the transcript door lets in."""

    max_bytes: int = 32 * 1024 * 1024
    """Bytes of a transcript: a day of speech, word by word as JSON, is 10 MB; it is read as a whole."""
    max_duration_ns: int = 48 * 3600 * NS_PER_SECOND
    """No cue may end later: the media door's own limit."""
    max_overhang_ns: int = 10 * NS_PER_SECOND
    """Words that end so much later than the media are told: a last line may stay on the screen for some seconds, but not so
    long; the transcript is another recording's, or the media are cut."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value <= 0:
                raise SettingsError(f"setting {name}", found=value, expected="a positive number")
