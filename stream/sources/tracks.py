"""One track of a container: packets in, decoded and timed packets of the timeline out."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import av
from av.audio.codeccontext import AudioCodecContext
from av.frame import Frame
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext

from stream.sources.address import Address
from stream.sources.door import check_frame_size, check_sample_rate
from stream.sources.media_clock import MediaClock, TrackClock
from stream.sources.picture import DecodedPicture, PictureConverter
from stream.sources.resampling import Resampler
from stream.sources.settings import MediaSettings
from stream.timeline.packets import AudioChunk, Modality, VideoFrame
from stream.timeline.time import NS_PER_MS, NS_PER_SECOND, from_seconds, from_ticks, to_seconds

_UNKNOWN_FRAME_NS = 40 * NS_PER_MS
_LENGTH_TAG = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")
TimedPacket = VideoFrame | AudioChunk


class Track(ABC):
    """What video and audio tracks have in common: decoding, times, counts of what was left out."""

    modality: Modality
    undecodable = "damaged"
    """Why a packet of this track may give nothing."""

    def __init__(
        self, name: str, source: Stream, clock: MediaClock, dropped: dict[str, int], address: Address, settings: MediaSettings
    ) -> None:
        self.name = name
        self.index = source.index
        self.clock: TrackClock = clock.track()
        self.idle = False
        self._left_out: Counter[str] = Counter()
        self._dropped = dropped
        dropped[name] = 0
        self._source = source
        self._media_clock = clock
        self._address = address
        self._settings = settings
        base = source.time_base or Fraction(1, av.time_base)
        self._numerator, self._denominator = base.numerator, base.denominator

    @property
    @abstractmethod
    def bound_ns(self) -> int:
        """Nothing of this track that starts before follows."""

    @property
    @abstractmethod
    def end_ns(self) -> int:
        """Where what was delivered ends."""

    @property
    def notices(self) -> list[str]:
        """What a user should know of this track."""
        return [f"{self.name}: {count} {reason}" for reason, count in self._left_out.items()]

    def leave_out(self, reason: str) -> None:
        """Count a unit that does not become a packet."""
        self._left_out[reason] += 1
        self._dropped[self.name] += 1

    def decode(self, packet: av.Packet) -> list[TimedPacket]:
        """What a packet of this track completes; the empty packet at the container's end completes the rest."""
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError):
            self.leave_out(f"packets were dropped: {self.undecodable}")
            return []
        return [timed for frame in frames for timed in self._take(frame)]

    def drain(self) -> list[TimedPacket]:
        """What the decoder still holds of the old clock, before a new epoch."""
        context = self._source.codec_context
        assert isinstance(context, VideoCodecContext | AudioCodecContext)
        try:
            frames: Sequence[Frame] = context.decode(None)
        except (av.FFmpegError, ValueError):
            frames = []
        context.flush_buffers()
        return [timed for frame in frames for timed in self._take(frame)] + self.finish()

    def finish(self) -> list[TimedPacket]:
        """What is held back beyond the decoder."""
        return []

    @abstractmethod
    def start_epoch(self, epoch: int, at_ns: int) -> None:
        """A new source epoch: what lies before `at_ns` is trimmed."""

    def media_ns(self, ticks: int) -> int:
        """Ticks of this track to nanoseconds of the container's clock."""
        return from_ticks(ticks, self._numerator, self._denominator)

    def declared_end_ns(self) -> int | None:
        """Where the header says this track ends, on the container's clock; None where it says nothing."""
        source = self._source
        tag = _LENGTH_TAG.match(source.metadata.get("DURATION", ""))
        if tag:  # Matroska: FFmpeg gives such tracks the container's length otherwise, subtitles included
            hours, minutes, seconds = tag.groups()
            return from_seconds(int(hours) * 3600 + int(minutes) * 60 + float(seconds))
        if source.duration is None:
            return None
        return self.media_ns((source.start_time or 0) + source.duration)

    @abstractmethod
    def _take(self, frame: Frame) -> list[TimedPacket]: ...

    def _session_ns(self, frame: Frame) -> int | None:
        return None if frame.pts is None else self.media_ns(frame.pts) + self._media_clock.shift_ns


class VideoTrack(Track):
    """A video track: each frame the decoder yields is an instant."""

    modality = Modality.VIDEO

    def __init__(
        self,
        name: str,
        source: av.VideoStream,
        clock: MediaClock,
        dropped: dict[str, int],
        address: Address,
        settings: MediaSettings,
    ) -> None:
        super().__init__(name, source, clock, dropped, address, settings)
        self.undecodable = f"damaged, or of frames beyond {settings.max_pixels} pixels"
        rate = source.average_rate or source.guessed_rate
        self._usual_ns = int(NS_PER_SECOND / rate) if rate else _UNKNOWN_FRAME_NS
        self._nearest_ns = NS_PER_SECOND // settings.max_frame_rate
        self._converter = PictureConverter()
        self._epoch = 0
        self._sequence = 0
        self._floor_ns = 0
        self._newest_ns: int | None = None
        self._last_length_ns = 0
        self._earliest_ns = 0
        self._size = (0, 0)
        self._placed = 0

    @property
    def bound_ns(self) -> int:
        """The newest frame's instant."""
        return self._floor_ns if self._newest_ns is None else self._newest_ns

    @property
    def end_ns(self) -> int:
        """The newest frame's instant and length: a frame lies inside of what was delivered."""
        return self._floor_ns if self._newest_ns is None else self._newest_ns + max(1, self._last_length_ns)

    @property
    def notices(self) -> list[str]:
        """What a user should know of this track."""
        before = (
            [f"{self.name}: starts {to_seconds(-self._earliest_ns):.2f} s before zero: trimmed"] if self._earliest_ns else []
        )
        placed = [f"{self.name}: {self._placed} frames without a time stamp follow the ones before"] if self._placed else []
        return before + placed + super().notices

    def start_epoch(self, epoch: int, at_ns: int) -> None:
        """A new source epoch: what lies before `at_ns` is trimmed."""
        self._epoch, self._floor_ns, self._newest_ns = epoch, at_ns, None

    def _take(self, frame: Frame) -> list[TimedPacket]:
        assert isinstance(frame, av.VideoFrame)
        size = (frame.width, frame.height)
        if size != self._size:
            check_frame_size(*size, self._address, self._settings)
            self._size = size
        length_ns = self.media_ns(frame.duration) if frame.duration else self._usual_ns
        at_ns = self._session_ns(frame)
        if at_ns is None:
            at_ns = self._floor_ns if self._newest_ns is None else self._newest_ns + self._last_length_ns
            self._placed += 1
        if at_ns < self._floor_ns:
            if self._epoch == 0:
                self._earliest_ns = min(self._earliest_ns, at_ns)
            return []
        if min(size) < self._settings.min_side:
            self.leave_out(f"frames smaller than {self._settings.min_side} pixels were dropped")
            return []
        if self._newest_ns is not None and at_ns - self._newest_ns < self._nearest_ns:
            disorder = at_ns < self._newest_ns
            rate = self._settings.max_frame_rate
            reason = "frames out of order were dropped" if disorder else f"frames beyond {rate} a second were dropped"
            self.leave_out(reason)
            return []
        self._newest_ns, self._last_length_ns = at_ns, length_ns
        self._sequence += 1
        return [
            VideoFrame(
                stream=self.name,
                epoch=self._epoch,
                sequence=self._sequence - 1,
                start_ns=at_ns,
                end_ns=at_ns,
                image=DecodedPicture(frame, self._converter),
            )
        ]


class AudioTrack(Track):
    """An audio track: 16 kHz mono chunks, addressed by sample."""

    modality = Modality.AUDIO

    def __init__(
        self,
        name: str,
        source: av.AudioStream,
        clock: MediaClock,
        dropped: dict[str, int],
        address: Address,
        settings: MediaSettings,
    ) -> None:
        super().__init__(name, source, clock, dropped, address, settings)
        self._resampler = Resampler(name, settings.audio_tolerance_ns)
        self._rate = 0

    @property
    def bound_ns(self) -> int:
        """Where the samples given out end."""
        return self._resampler.end_ns

    @property
    def end_ns(self) -> int:
        """Where the samples given out end."""
        return self._resampler.end_ns

    @property
    def notices(self) -> list[str]:
        """What a user should know of this track."""
        resampler = self._resampler
        spans = {
            "before zero: trimmed": resampler.trimmed_ns,
            "of gaps: filled with masked silence": resampler.filled_ns,
            "of overlap: dropped": resampler.overlap_ns,
        }
        lines = [f"{self.name}: {to_seconds(ns):.3f} s {what}" for what, ns in spans.items() if ns]
        if resampler.not_sound:
            lines.append(f"{self.name}: {resampler.not_sound} samples that are no numbers were masked")
        return lines + super().notices

    def finish(self) -> list[TimedPacket]:
        """What the resampler still holds."""
        return list(self._resampler.flush())

    def start_epoch(self, epoch: int, at_ns: int) -> None:
        """A new source epoch: samples are counted anew."""
        self._resampler.start_epoch(epoch, at_ns)

    def _take(self, frame: Frame) -> list[TimedPacket]:
        assert isinstance(frame, av.AudioFrame)
        if frame.sample_rate != self._rate:
            check_sample_rate(frame.sample_rate, self._address, self._settings)
            self._rate = frame.sample_rate
        return list(self._resampler.take(frame, self._session_ns(frame)))
