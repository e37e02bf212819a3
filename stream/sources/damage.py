"""What of a track could not be decoded, beyond what primes its decoder."""

from __future__ import annotations


class Damage:
    """Counts of one track: packets that gave nothing, and frames that were decoded in part.

    What comes before the first whole frame of an epoch is no damage where the source may be joined between key frames,
    nor is the last packet where it may be left inside of one.
    """

    def __init__(self, *, joined: bool) -> None:
        """`joined`: the source may begin and end anywhere, as broadcast formats do."""
        self._joined = joined
        self._priming = joined
        self._packets = self._frames = 0
        self._undecided_packets = self._undecided_frames = 0

    def packet(self) -> None:
        """A packet could not be decoded."""
        self._undecided_packets += 1

    def frame(self, *, damaged: bool) -> None:
        """A packet gave a frame: whole, or `damaged`."""
        if damaged:
            self._undecided_frames += 1
            return
        self._decide(counts=not self._priming)
        self._priming = False

    def start_epoch(self) -> None:
        """A new source epoch, which the decoder begins anew."""
        self._leave()
        self._priming = True

    def told(self, name: str) -> list[str]:
        """What a user should know of the track of this name, at its end; empty where all was decoded."""
        self._leave()
        parts = [f"{self._packets} packets of {name} could not be decoded"] if self._packets else []
        return parts + ([f"{self._frames} frames of {name} were decoded only in part"] if self._frames else [])

    def _leave(self) -> None:
        last_alone = self._undecided_packets + self._undecided_frames <= 1
        self._decide(counts=self._priming or not (self._joined and last_alone))

    def _decide(self, *, counts: bool) -> None:
        if counts:
            self._packets += self._undecided_packets
            self._frames += self._undecided_frames
        self._undecided_packets = self._undecided_frames = 0
