"""One track of a container: packets in, decoded and timed packets of the timeline out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence

import av
from av.audio.codeccontext import AudioCodecContext
from av.frame import Frame
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext

from stream.sources.address import Address
from stream.sources.damage import Damage
from stream.sources.facts import TrackFacts
from stream.sources.media_clock import MediaClock, TrackClock
from stream.sources.settings import MediaSettings
from stream.timeline.packets import AudioChunk, Modality, VideoFrame

LEFT_BEHIND = "packets of the clock before a jump were dropped"
TimedPacket = VideoFrame | AudioChunk


class Track(ABC):
    """What video and audio tracks have in common: decoding, times, counts of what was left out."""

    modality: Modality
    undecodable = "damaged"
    """Why a packet of this track may give nothing."""

    def __init__(
        self,
        name: str,
        source: Stream,
        facts: TrackFacts,
        clock: MediaClock,
        dropped: dict[str, int],
        address: Address,
        settings: MediaSettings,
    ) -> None:
        self.name = name
        self.facts = facts
        self.index = source.index
        self.clock: TrackClock = clock.track()
        self.jumped: av.Packet | None = None
        """A packet whose time stamp jumps, until the next one says whether it does or is damaged."""
        self.damage = Damage(joined=clock.resets)
        self.idle = False
        self.lacking = False
        """Whether the newest packets gave nothing, since they could not be decoded or were left out."""
        self._disbelieved = 0
        self._left_out: Counter[str] = Counter()
        self._dropped = dropped
        dropped[name] = 0
        self._source = source
        self._media_clock = clock
        self._address = address
        self._settings = settings

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
        lines = [f"{self.name}: {count} {reason}" for reason, count in self._left_out.items()]
        if self._disbelieved:
            lines.append(f"{self.name}: {self._disbelieved} time stamps far from those around them were not believed")
        return lines

    @property
    def damaged(self) -> list[str]:
        """What of this track was there and could not be read, at its end."""
        left = self._left_out[LEFT_BEHIND]
        return self.damage.told(self.name) + (
            [f"{left} packets of {self.name} are stamped by a clock that other tracks left"]
            if not self.clock.follows and left
            else []
        )

    def leave_out(self, reason: str) -> None:
        """Count a unit that does not become a packet."""
        self._left_out[reason] += 1
        self._dropped[self.name] += 1
        self.lacking = True

    def decode(self, packet: av.Packet) -> list[TimedPacket]:
        """What a packet of this track completes; the empty packet at the container's end completes the rest."""
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError):
            self.leave_out(f"packets were dropped: {self.undecodable}")
            if packet.pts is None or self.media_ns(packet.pts) + self._media_clock.shift_ns >= 0:
                self.damage.packet()
            return []
        for frame in frames:
            self.damage.frame(damaged=frame.is_corrupt)
        return self._taken(frames)

    def stamped_ns(self, packet: av.Packet) -> int | None:
        """When a packet is decoded, on the container's clock. Of two time stamps that don't fit together one is damaged.

        It is taken away: the one that lies further from those before.
        """
        if packet.pts is not None and packet.dts is not None:
            stamps = {"dts": self.media_ns(packet.dts), "pts": self.media_ns(packet.pts)}
            if abs(stamps["pts"] - stamps["dts"]) > self._settings.max_forward_ns:
                damaged = max(stamps, key=lambda name: self._media_clock.distance_ns(self.clock, stamps[name]))
                setattr(packet, damaged, None)
                self._disbelieved += 1
        ticks = packet.pts if packet.dts is None else packet.dts
        return None if ticks is None else self.media_ns(ticks)

    def disbelieve(self, packet: av.Packet) -> None:
        """Take a packet's time stamps away: what it gives follows what came before."""
        packet.pts = packet.dts = None
        self._disbelieved += 1

    def drain(self) -> list[TimedPacket]:
        """What the decoder still holds of the old clock, before a new epoch."""
        context = self._source.codec_context
        assert isinstance(context, VideoCodecContext | AudioCodecContext)
        try:
            frames: Sequence[Frame] = context.decode(None)
        except (av.FFmpegError, ValueError):
            frames = []
        context.flush_buffers()
        return self._taken(frames) + self.finish()

    def finish(self) -> list[TimedPacket]:
        """What is held back beyond the decoder."""
        return []

    def start_epoch(self, epoch: int, at_ns: int) -> None:  # noqa: ARG002 - for those that count from there
        """A new source epoch: what lies before `at_ns` is trimmed."""
        self.damage.start_epoch()

    def media_ns(self, ticks: int) -> int:
        """Ticks of this track to nanoseconds of the container's clock."""
        return self.facts.ns(ticks)

    def _taken(self, frames: Sequence[Frame]) -> list[TimedPacket]:
        timed: list[TimedPacket] = []
        for frame in frames:
            try:
                taken = self._take(frame)
            except av.FFmpegError:  # of a form that FFmpeg decodes and can't convert
                self.leave_out("frames were dropped: damaged")
                self.damage.packet()
                continue
            self.lacking = self.lacking and not taken
            timed += taken
        return timed

    @abstractmethod
    def _take(self, frame: Frame) -> list[TimedPacket]: ...

    def _session_ns(self, frame: Frame) -> int | None:
        return None if frame.pts is None else self.media_ns(frame.pts) + self._media_clock.shift_ns
