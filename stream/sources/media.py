"""Anything that FFmpeg opens, behind one door: a path, an http(s), rtsp or udp URL, or `-` for standard input."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import av
from av.container import InputContainer

from stream.errors import SourceError
from stream.sources.address import Address, Kind
from stream.sources.declared_bytes import cut_bytes
from stream.sources.door import check_duration, choose_tracks, clock_resets, open_container
from stream.sources.facts import MediaFacts, facts_of
from stream.sources.media_clock import MediaClock, Verdict
from stream.sources.readable import SourceStream
from stream.sources.settings import MediaSettings
from stream.sources.track import LEFT_BEHIND, TimedPacket, Track
from stream.sources.tracks import AudioTrack, VideoTrack
from stream.timeline.packets import Bound, EpochStart, Item, Modality, StreamActive, StreamEnd, StreamIdle
from stream.timeline.time import to_seconds

_DEFAULTS = MediaSettings()


class MediaSource:
    """A container as a readable source: one video and one audio stream on the container's one clock.

    Zero is the container's start; what it holds before primes the decoder and is trimmed. Raises `SourceError` where
    the door refuses it; always close it.
    """

    _container: InputContainer | None

    def __init__(self, url: str, *, video: str = "video", audio: str = "audio", settings: MediaSettings = _DEFAULTS) -> None:
        self._prepare(Address.of(url), settings)
        container = open_container(self._address, settings)
        self._container = container
        try:
            chosen = choose_tracks(container, self._address, settings, joined=clock_resets(container))
            self._own_notices += chosen.notices
            facts = facts_of(container, self._address.kind, chosen.video, chosen.audio)
            read = [track for track in (chosen.video, chosen.audio) if track is not None]
            self._begin(facts, chosen.video, chosen.audio, container.demux(*read), (video, audio))
        except BaseException:
            self.close()
            raise

    @classmethod
    def recorded(
        cls,
        facts: MediaFacts,
        container: InputContainer,
        packets: Iterator[av.Packet],
        *,
        names: tuple[str, str] = ("video", "audio"),
        settings: MediaSettings = _DEFAULTS,
    ) -> MediaSource:
        """A source that decodes packets of before: those of another container, whose tracks `container` has, and `facts`.

        It closes `container`, whose own packets are not read.
        """
        source = cls.__new__(cls)
        source._prepare(Address(facts.kind, "", "recorded media"), settings)
        source._container = container
        chosen = choose_tracks(container, source._address, settings, joined=facts.resets)
        source._begin(facts, chosen.video, chosen.audio, packets, names)
        return source

    def _prepare(self, address: Address, settings: MediaSettings) -> None:
        self._settings = settings
        self._reading = threading.Lock()
        self._closing = False
        self._address = address
        self._container = None
        self._own_notices: list[str] = []
        self.tap: Callable[[av.Packet], None] | None = None
        """Called with each packet before it is looked at, in the thread that reads; it must not keep or change it."""

    def _begin(
        self,
        facts: MediaFacts,
        video: av.VideoStream | None,
        audio: av.AudioStream | None,
        packets: Iterator[av.Packet],
        names: tuple[str, str],
    ) -> None:
        self.facts = facts
        self.tracks = tuple(track for track in (video, audio) if track is not None)
        """The container's tracks that are read, in the order of `streams`."""
        self.dropped: dict[str, int] = {}
        # Where time stamps begin below zero, what is there is priming: players begin at zero.
        zero_ns = max(0, facts.start_ns or 0)
        self._zero_known = facts.start_ns is not None
        self.duration_ns: int | None = None
        if facts.duration_ns is not None:
            self.duration_ns = (facts.start_ns or 0) + facts.duration_ns - zero_ns
        self._clock = MediaClock(
            zero_ns,
            resets=facts.resets,
            settings=self._settings,
            declared_ns=self.duration_ns if facts.declares else None,
        )
        of_file = (self._clock, self.dropped, self._address, self._settings)
        self._tracks: dict[int, Track] = {}
        if video is not None and facts.video is not None:
            begins_ns = min(0, facts.start_ns or 0)
            self._tracks[video.index] = VideoTrack(names[0], video, facts.video, *of_file, begins_ns=begins_ns)
        if audio is not None and facts.audio is not None:
            self._tracks[audio.index] = AudioTrack(names[1], audio, facts.audio, *of_file)
        self.streams = tuple(SourceStream(track.name, track.modality) for track in self._tracks.values())
        self._declared_ends = {}
        if facts.declares:
            ends = {track.index: track.facts.declared_end_ns for track in self._tracks.values()}
            self._declared_ends = {index: end - zero_ns for index, end in ends.items() if end is not None}
        self._packets = packets
        self._tracks_at_first = 0 if self._container is None else len(self._container.streams)
        self._epoch = 0
        self._idle_beyond_ns = self._settings.interleave_ns
        self._anything = False
        self.position_ns = 0
        self.compressed_bytes = 0
        self.ended = False
        self.cut: str | None = None
        self._tell()

    def probe_quarter_turns(self) -> int:
        """By how much the pictures of a file are stored turned: its first frame says so. 0 for what can't be opened again."""
        if self.facts.video is None or self._address.kind is not Kind.FILE or not self._address.path.is_file():
            return 0
        container = open_container(self._address, self._settings)
        with container, contextlib.suppress(av.FFmpegError, StopIteration):
            return round(next(container.decode(video=0)).rotation / 90) % 4
        return 0

    def close(self) -> None:
        """Close the container: one that stays open grows memory by gigabytes an hour.

        May be called twice, and from another thread: FFmpeg must not lose a container that it reads, so a `read` under
        way closes it when it is done.
        """
        self._closing = True
        if not self._reading.acquire(blocking=False):
            return
        try:
            container, self._container = self._container, None
            if container is not None:
                self._packets = iter(())
                container.close()
        finally:
            self._reading.release()

    def read(self) -> list[Item]:
        """The next packets and controls in reading order; empty: nothing this time. Raises `SourceError`."""
        try:
            with self._reading:
                return self._read()
        finally:
            if self._closing:
                self.close()

    def _read(self) -> list[Item]:
        self.compressed_bytes = 0
        if self.ended:
            return []
        if self._container is None:
            raise SourceError(f"source {self._address.shown}", found="a closed source", expected="an open one")
        try:
            packet = next(self._packets, None)
        except av.FFmpegError as error:
            return self._end(_reading_failed(error))
        except IndexError:  # PyAV at the end of a container in which tracks have appeared on the way; ours are flushed before
            packet = None
        if packet is None:
            return self._end(None)
        if self.tap is not None:
            self.tap(packet)
        self.compressed_bytes = packet.size
        track = self._tracks[packet.stream.index]
        media_ns = track.stamped_ns(packet)
        items = [*self._settle(track, media_ns), *self._take(track, packet, media_ns)]
        if self.position_ns > self._idle_beyond_ns:
            items += self._fallen_behind()
        return items

    def _settle(self, track: Track, next_ns: int | None) -> list[Item]:
        """The packet that waited for this track's next time stamp (None: there is none) to say whether it jumps."""
        packet, track.jumped = track.jumped, None
        if packet is None:
            return []
        jumped_ns = track.stamped_ns(packet)
        assert jumped_ns is not None
        return self._take(track, packet, jumped_ns, confirmed=self._clock.confirms(track.clock, jumped_ns, next_ns))

    def _take(self, track: Track, packet: av.Packet, media_ns: int | None, *, confirmed: bool | None = None) -> list[Item]:
        """What a packet gives. `confirmed`: whether its time stamp is believed where it jumps; None: not known yet."""
        items: list[Item] = []
        if media_ns is not None:
            if not self._zero_known:
                self._clock.shift_ns, self._zero_known = -media_ns, True
            verdict = self._clock.read(track.clock, media_ns, self.position_ns, confirmed=bool(confirmed))
            if verdict is Verdict.STALE:
                track.leave_out(LEFT_BEHIND)
                return items
            if verdict is not Verdict.FITS and confirmed is None:
                track.jumped = packet
                return items
            if verdict is not Verdict.FITS and not confirmed:
                track.disbelieve(packet)
            elif verdict is Verdict.JUMPS:
                items += self._start_epoch(track, media_ns, packet)
        packets = track.decode(packet)
        if track.idle and media_ns is not None and not track.lacking:
            track.idle = False
            self._idle_beyond_ns = 0
            items.append(StreamActive(stream=track.name, at_ns=self.position_ns))
        return [*items, *self._timed(track, packets)]

    def _timed(self, track: Track, packets: list[TimedPacket]) -> list[Item]:
        """A track's packets and the bound that they leave."""
        if not packets:
            return []
        self._anything = True
        self.position_ns = max(self.position_ns, packets[-1].end_ns)
        check_duration(self.position_ns, self._address, self._settings)
        return [*packets, Bound(stream=track.name, bound_ns=track.bound_ns)]

    def _fallen_behind(self) -> list[Item]:
        """Tracks that the container has been read too far beyond become idle; and when to look again."""
        items: list[Item] = []
        furthest_ns = self.position_ns - self._settings.interleave_ns
        for track in self._tracks.values():
            if not track.idle and self._gives_ns(track) < furthest_ns:
                track.idle = True
                items.append(StreamIdle(stream=track.name, at_ns=self.position_ns))
        held_ns = min((self._gives_ns(track) for track in self._tracks.values() if not track.idle), default=self.position_ns)
        self._idle_beyond_ns = held_ns + self._settings.interleave_ns
        return items

    def _gives_ns(self, track: Track) -> int:
        """How far a track has come: what its decoder may hold counts, what is lost does not, or it would hold all back."""
        return track.end_ns if track.lacking else self._held_ns(track)

    def _held_ns(self, track: Track) -> int:
        """How far the container holds a track, as far as it was read, whether it could be decoded or not."""
        newest_ns = track.clock.newest_ns
        if newest_ns is None or not track.clock.follows:
            return track.end_ns
        return max(track.end_ns, newest_ns + self._clock.shift_ns)

    def _start_epoch(self, track: Track, media_ns: int, packet: av.Packet) -> list[Item]:
        """Everything that is held of the clock before, then the new epoch, which begins at no time given out already.

        Where the clock goes on, after a pause, what follows may build on the pictures before.
        """
        items: list[Item] = []
        pauses = self._clock.keeps_length(media_ns, self.position_ns) and not packet.is_keyframe
        for held in self._tracks.values():
            items += self._timed(held, held.finish() if pauses else held.drain())
        self._epoch += 1
        at_ns = self._clock.jump(track.clock, media_ns, self.position_ns)
        for each in self._tracks.values():
            each.start_epoch(self._epoch, at_ns)
            each.idle = False
        self.position_ns = at_ns
        self._idle_beyond_ns = 0
        names = tuple(each.name for each in self._tracks.values())
        self._own_notices.append(f"time stamps jump at {to_seconds(at_ns):.2f} s: source epoch {self._epoch} begins")
        return [*items, EpochStart(streams=names, epoch=self._epoch, at_ns=at_ns)]

    def _end(self, failure: str | None) -> list[Item]:
        """What decoders and resampler still hold, and the end of every stream. `failure`: why reading stopped."""
        self.ended = True
        items: list[Item] = []
        for track in self._tracks.values():
            # Where reading failed nobody has emptied the decoders yet.
            items += self._settle(track, None)
            items += self._timed(track, track.drain() if failure else track.finish())
        if not self._anything:
            raise SourceError(
                f"source {self._address.shown}",
                found=failure
                or "; ".join(line for track in self._tracks.values() for line in track.notices)
                or "nothing to decode",
                expected="video or audio",
                fix="check it with ffprobe, fetch it again, or give a file instead of a pipe",
            )
        self._judge(failure)
        appeared = 0 if self._container is None else len(self._container.streams) - self._tracks_at_first
        if appeared > 0:
            self._own_notices.append(f"{appeared} tracks appeared on the way and were not read")
        self._tell()
        return [*items, *(StreamEnd(stream=track.name, at_ns=self._ends_at(track)) for track in self._tracks.values())]

    def _ends_at(self, track: Track) -> int:
        """Where a track ends: how long the last picture stays is a guess, which the end of the sound around it settles."""
        sound_ns = max((each.end_ns for each in self._tracks.values() if each.modality is Modality.AUDIO), default=None)
        if sound_ns is None or track.modality is not Modality.VIDEO or sound_ns <= track.bound_ns:
            return track.end_ns
        return min(track.end_ns, sound_ns)

    def _judge(self, failure: str | None) -> None:
        """Whether less was delivered than declared, or than is there. A live source declares nothing; after a jump headers
        say nothing.
        """
        live = self._address.kind in (Kind.RTSP, Kind.UDP)
        ends = {} if self._epoch else self._declared_ends
        held = {index: self._held_ns(self._tracks[index]) for index in ends}
        missing = {index: end_ns - held[index] for index, end_ns in ends.items()}
        short = max(missing, key=missing.__getitem__, default=None)
        if short is not None and missing[short] > self._settings.cut_tolerance_ns:
            track = self._tracks[short]
            declared, found = to_seconds(ends[short]), to_seconds(held[short])
            self.cut = f"source {self._address.shown}: {track.name} declares {declared:.2f} s and holds {found:.2f} s"
            self.cut += f" ({failure})" if failure else ""
        elif short_by := self._missing_bytes():
            self.cut = f"source {self._address.shown}: declares {short_by[0]} bytes and holds {short_by[1]}"
        elif failure and live:
            self._own_notices.append(f"ended: {failure}")
        elif failure:
            self.cut = f"source {self._address.shown}: reading stopped at {to_seconds(self.position_ns):.2f} s ({failure})"
        damage = [] if live else [part for track in self._tracks.values() for part in track.damaged]
        if damage:
            lost = ", ".join(damage)
            self.cut = f"{self.cut}, {lost}" if self.cut else f"source {self._address.shown}: {lost}"

    def _missing_bytes(self) -> tuple[int, int] | None:
        """Bytes declared and bytes there, where what is missing is more than a writer's slip at the end."""
        counts = cut_bytes(self._address)
        if counts is None:
            return None
        declared, held = counts
        missing_ns = self.position_ns * (declared - held) // max(1, held)
        return counts if missing_ns > self._settings.cut_tolerance_ns else None

    def _tell(self) -> None:
        self.notices = (*self._own_notices, *(line for track in self._tracks.values() for line in track.notices))


def _reading_failed(error: av.FFmpegError) -> str:
    if isinstance(error, av.error.ExitError | av.error.TimeoutError):
        return "nothing came any more"
    if isinstance(error, av.error.InvalidDataError):
        return "data that is no media"
    return (error.strerror or type(error).__name__).lower()
