"""From a container's time stamps to session time, and where its clock jumps."""

from __future__ import annotations

from enum import Enum

from stream.sources.settings import MediaSettings


class TrackClock:
    """What the clock knows of one track: its newest time stamp, and whether it has followed the last jump."""

    def __init__(self) -> None:
        self.newest_ns: int | None = None
        self.follows = True


class Verdict(Enum):
    """What a packet says about the clock: it fits, it jumps, or it is stamped by the clock before the last jump."""

    FITS = "fits"
    JUMPS = "jumps"
    STALE = "stale"


class MediaClock:
    """The one clock of a container: session time is media time (as stamped) plus `shift_ns`.

    A jump is seen on one track first; the others follow a little later in reading order. Until then what they hold
    is stamped by the old clock and is stale.
    """

    def __init__(self, zero_ns: int, *, resets: bool, settings: MediaSettings) -> None:
        """`resets`: in this format a jump forward says nothing about how long nothing came (MPEG-TS)."""
        self.shift_ns = -zero_ns
        self._reached_ns: int | None = None
        self._resets = resets
        self._settings = settings
        self._tracks: list[TrackClock] = []
        self._jumped_by_ns = 0

    def track(self) -> TrackClock:
        """One more track on this clock."""
        self._tracks.append(TrackClock())
        return self._tracks[-1]

    def read(self, track: TrackClock, media_ns: int, position_ns: int) -> Verdict:
        """Judge the decoding time of a track's next packet. `position_ns`: the largest event time given out so far."""
        newest_ns = track.newest_ns
        if not track.follows:
            assert newest_ns is not None
            if 2 * abs(media_ns - newest_ns - self._jumped_by_ns) > abs(self._jumped_by_ns):
                track.newest_ns = media_ns
                return Verdict.STALE
            track.follows, track.newest_ns = True, media_ns
        elif newest_ns is not None and media_ns < newest_ns - self._settings.max_backward_ns:
            return Verdict.JUMPS
        session_ns = media_ns + self.shift_ns
        if self._reached_ns is not None and session_ns > max(self._reached_ns, position_ns) + self._settings.max_forward_ns:
            return Verdict.JUMPS
        track.newest_ns = media_ns if newest_ns is None else max(track.newest_ns or media_ns, media_ns)
        self._reached_ns = session_ns if self._reached_ns is None else max(self._reached_ns, session_ns)
        return Verdict.FITS

    def jump(self, track: TrackClock, media_ns: int, position_ns: int) -> int:
        """Begin a new source epoch with this packet: its start in session time, `position_ns` or later.

        Back, or where the format's clock resets, the session goes on where it is; elsewhere a jump forward keeps its
        length, as a player shows it.
        """
        session_ns = media_ns + self.shift_ns
        self._jumped_by_ns = media_ns - track.newest_ns if track.newest_ns is not None else session_ns - (self._reached_ns or 0)
        at_ns = position_ns if self._resets else max(position_ns, session_ns)
        self.shift_ns = at_ns - media_ns
        self._reached_ns = at_ns
        for other in self._tracks:
            other.follows = other is track or other.newest_ns is None
        track.newest_ns = media_ns
        return at_ns
