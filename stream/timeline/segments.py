"""What the aligner gives out: revisions of segments, holes, and late packets."""

from __future__ import annotations

from typing import Literal

import msgspec

from stream.timeline.packets import Modality, Packet
from stream.timeline.time import Span

SegmentKind = Literal["utterance", "silence", "window", "line", "hole"]
Status = Literal["provisional", "final", "amended", "abandoned"]
Reason = Literal[
    "cadence", "silence", "speech", "longest", "window", "line", "idle", "end", "reconnect", "words", "time-out", "caught-up"
]
SliceState = Literal["present", "absent", "stale", "imputed", "pending", "shed"]
Absence = Literal["not-declared", "not-started", "idle", "ended", "nothing-there"]

SPEECH_LANE = "speech"


def listener_lane(track: int) -> str:
    """The lane of the person with that face track."""
    return f"face:{track}"


class Slice(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What one stream holds of a segment: packets in order of start, coverage as a share of the span in [0, 1]."""

    stream: str
    modality: Modality
    state: SliceState
    absence: Absence | None = None
    coverage: float = 0.0
    packets: tuple[Packet, ...] = ()


class Revision(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One published state of a segment.

    Identity is (session, `source_epoch`, `lane`, `start_ns`); `number` names the cadence step of a provisional, and
    follows it for final and amended; `decided_ns` is the arrival time at which the rules made it due.
    """

    source_epoch: int
    lane: str
    kind: SegmentKind
    start_ns: int
    end_ns: int
    continues: bool = False
    number: int
    status: Status
    reason: Reason
    decided_ns: int
    slices: tuple[Slice, ...] = ()

    @property
    def span(self) -> Span:
        """The segment's span in this revision."""
        return Span(self.start_ns, self.end_ns)

    def slice_of(self, modality: Modality) -> Slice | None:
        """The first slice of a modality, None where no such stream is declared."""
        return next((s for s in self.slices if s.modality is modality), None)


class Late(msgspec.Struct, frozen=True, kw_only=True):
    """A packet that came after its segment was frozen."""

    stream: str
    epoch: int
    sequence: int
    start_ns: int
    end_ns: int
    arrival_ns: int


Output = Revision | Late
