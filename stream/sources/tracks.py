"""The two kinds of track: frames are instants, samples are counted."""

from __future__ import annotations

import av
from av.frame import Frame

from stream.sources.address import Address
from stream.sources.door import check_frame_size, check_sample_rate
from stream.sources.facts import TrackFacts
from stream.sources.media_clock import MediaClock
from stream.sources.picture import DecodedPicture, PictureConverter
from stream.sources.resampling import Resampler
from stream.sources.settings import MediaSettings
from stream.sources.track import TimedPacket, Track
from stream.timeline.packets import Modality, VideoFrame
from stream.timeline.time import NS_PER_MS, NS_PER_SECOND, to_seconds

_UNKNOWN_FRAME_NS = 40 * NS_PER_MS


class VideoTrack(Track):
    """A video track: each frame the decoder yields is an instant."""

    modality = Modality.VIDEO

    def __init__(
        self,
        name: str,
        source: av.VideoStream,
        facts: TrackFacts,
        clock: MediaClock,
        dropped: dict[str, int],
        address: Address,
        settings: MediaSettings,
        *,
        begins_ns: int = 0,
    ) -> None:
        """`begins_ns`: where the container begins, 0 or before it; frames without a time stamp are counted from there."""
        super().__init__(name, source, facts, clock, dropped, address, settings)
        self.undecodable = f"damaged, or of frames beyond {settings.max_pixels} pixels"
        self._usual_ns = facts.frame_ns or _UNKNOWN_FRAME_NS
        self._nearest_ns = NS_PER_SECOND // settings.max_frame_rate
        self._converter = PictureConverter()
        self._epoch = 0
        self._sequence = 0
        self._floor_ns = 0
        self._newest_ns: int | None = None
        self._next_ns = begins_ns
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
        super().start_epoch(epoch, at_ns)
        self._epoch, self._floor_ns, self._newest_ns, self._next_ns = epoch, at_ns, None, at_ns

    def _take(self, frame: Frame) -> list[TimedPacket]:
        assert isinstance(frame, av.VideoFrame)
        size = (frame.width, frame.height)
        if size != self._size:
            check_frame_size(*size, self._address, self._settings)
            self._size = size
        length_ns = self.media_ns(frame.duration) if frame.duration else self._usual_ns
        at_ns = self._session_ns(frame)
        if at_ns is None:
            at_ns = self._next_ns
            self._next_ns += length_ns
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
        self._newest_ns, self._last_length_ns, self._next_ns = at_ns, length_ns, at_ns + length_ns
        self._sequence += 1
        return [
            VideoFrame(
                stream=self.name,
                epoch=self._epoch,
                sequence=self._sequence - 1,
                start_ns=at_ns,
                end_ns=at_ns,
                image=DecodedPicture(frame, self._converter, self.facts.quarter_turns),
            )
        ]


class AudioTrack(Track):
    """An audio track: 16 kHz mono chunks, addressed by sample."""

    modality = Modality.AUDIO

    def __init__(
        self,
        name: str,
        source: av.AudioStream,
        facts: TrackFacts,
        clock: MediaClock,
        dropped: dict[str, int],
        address: Address,
        settings: MediaSettings,
    ) -> None:
        super().__init__(name, source, facts, clock, dropped, address, settings)
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
        super().start_epoch(epoch, at_ns)
        self._resampler.start_epoch(epoch, at_ns)

    def _take(self, frame: Frame) -> list[TimedPacket]:
        assert isinstance(frame, av.AudioFrame)
        if frame.sample_rate != self._rate:
            check_sample_rate(frame.sample_rate, self._address, self._settings)
            self._rate = frame.sample_rate
        return list(self._resampler.take(frame, self._session_ns(frame)))
