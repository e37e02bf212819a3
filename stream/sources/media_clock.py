"""From a container's time stamps to session time, and where its clock jumps."""

from __future__ import annotations

from enum import Enum

from stream.sources.settings import MediaSettings


class TrackClock:
    """What the clock knows of one track: its newest time stamp, and whether (or by how much) it has to follow a jump yet."""

    def __init__(self) -> None:
        self.newest_ns: int | None = None
        self.follows = True
        self.owed_ns = 0


class Verdict(Enum):
    """What a packet says about the clock: it fits, leaps ahead, jumps, or is stamped by the clock before the last jump."""

    FITS = "fits"
    LEAPS = "leaps"
    JUMPS = "jumps"
    STALE = "stale"


class MediaClock:
    """The one clock of a container: session time is media time (as stamped) plus `shift_ns`.

    A jump is seen on one track first; the others follow a little later in reading order. Until then what they hold
    is stamped by the old clock and is stale. A jump, or a leap ahead, counts once the next time stamp of its track confirms
    it: one that stands alone is damage.
    """

    def __init__(self, zero_ns: int, *, resets: bool, settings: MediaSettings, declared_ns: int | None = None) -> None:
        """`resets`: in this format a jump forward says nothing about how long nothing came (MPEG-TS).

        `declared_ns`: the length that a header states, in session time.
        """
        self.shift_ns = -zero_ns
        self._reached_ns = 0
        self.resets = resets
        self._settings = settings
        self._declared_ns = declared_ns
        self._tracks: list[TrackClock] = []

    def track(self) -> TrackClock:
        """One more track on this clock."""
        self._tracks.append(TrackClock())
        return self._tracks[-1]

    def read(self, track: TrackClock, media_ns: int, position_ns: int, *, confirmed: bool = False) -> Verdict:
        """Judge the decoding time of a track's next packet. `position_ns`: the largest event time given out so far.

        `confirmed`: a leap ahead is believed, and fits.
        """
        newest_ns = track.newest_ns
        if not track.follows:
            assert newest_ns is not None
            step_ns = media_ns - newest_ns
            if 2 * abs(step_ns - track.owed_ns) > abs(track.owed_ns):
                track.newest_ns = media_ns
                if abs(step_ns) > self._settings.max_backward_ns:  # a jump of its own, which others may still follow
                    track.owed_ns -= step_ns
                return Verdict.STALE
            track.follows, track.newest_ns = True, media_ns
        elif newest_ns is not None and media_ns < newest_ns - self._settings.max_backward_ns:
            return Verdict.JUMPS
        session_ns = media_ns + self.shift_ns
        ahead_ns = session_ns - max(self._reached_ns, position_ns)
        beyond = self._declared_ns is not None and session_ns > self._declared_ns
        if ahead_ns > (self._settings.max_leap_ns if beyond else self._settings.max_forward_ns):
            return Verdict.JUMPS
        if ahead_ns > self._settings.max_leap_ns and not confirmed:
            return Verdict.LEAPS
        track.newest_ns = media_ns if newest_ns is None else max(track.newest_ns or media_ns, media_ns)
        self._reached_ns = max(self._reached_ns, session_ns)
        return Verdict.FITS

    def confirms(self, track: TrackClock, jumped_ns: int, next_ns: int | None) -> bool:
        """Whether a track's next time stamp lies nearer to the one that jumps than to those before it.

        Where nothing follows, one within the declared length is believed, or without that a leap.
        """
        if next_ns is None:
            latest_ns = self._reached_ns + self._settings.max_forward_ns if self._declared_ns is None else self._declared_ns
            return self._reached_ns < jumped_ns + self.shift_ns <= latest_ns
        return abs(next_ns - jumped_ns) < self.distance_ns(track, next_ns)

    def distance_ns(self, track: TrackClock, media_ns: int) -> int:
        """How far a time stamp lies from a track's newest, or where it has none, from the newest of all."""
        return abs(media_ns - (self._reached_ns - self.shift_ns if track.newest_ns is None else track.newest_ns))

    def keeps_length(self, media_ns: int, position_ns: int) -> bool:
        """Whether a jump to there leaves session time where the time stamps say."""
        latest_ns = position_ns + self._settings.max_jump_ns if self._declared_ns is None else self._declared_ns
        return not self.resets and position_ns <= media_ns + self.shift_ns <= latest_ns

    def jump(self, track: TrackClock, media_ns: int, position_ns: int) -> int:
        """Begin a new source epoch with this packet: its start in session time, `position_ns` or later.

        Back, or where the format's clock resets, the session goes on where it is; elsewhere a jump forward keeps its
        length, as a player shows it, where that is possible at all.
        """
        session_ns = media_ns + self.shift_ns
        jumped_by_ns = session_ns - self._reached_ns if track.newest_ns is None else media_ns - track.newest_ns
        at_ns = session_ns if self.keeps_length(media_ns, position_ns) else position_ns
        self.shift_ns = at_ns - media_ns
        self._reached_ns = at_ns
        for other in self._tracks:
            other.owed_ns = jumped_by_ns + (0 if other.follows else other.owed_ns)
            # Who has not followed a jump that is taken back need not follow this one either.
            other.follows = other is track or other.newest_ns is None or abs(other.owed_ns) <= self._settings.max_backward_ns
        track.newest_ns = media_ns
        return at_ns
