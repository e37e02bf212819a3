"""The aligner: from what passes its door to revisions of segments. A function of items, arrivals and settings alone."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from itertools import chain

from stream.errors import TimelineError
from stream.timeline.dispositions import Ledger
from stream.timeline.listeners import Listeners
from stream.timeline.membership import Retained, extent, slice_of
from stream.timeline.packets import Bound, EpochStart, Faces, Item, Modality, Packet, SpeechActivity, StreamEnd
from stream.timeline.schedule import Lines, Windows
from stream.timeline.segmentation import Lane, Segment
from stream.timeline.segments import SPEECH_LANE, Late, Output, Reason, Revision, Status
from stream.timeline.settings import SegmentationSettings, TimelineSettings, UtteranceSettings, WindowSettings
from stream.timeline.time import Span
from stream.timeline.utterances import Utterances
from stream.timeline.watermark import FOREVER_NS, NEVER_NS, StreamDeclaration, StreamState, Watermarks

_FINAL, _AMENDMENT = 0, 1
_MUTE = ("silence", "hole")


class Aligner:
    """Aligns the declared streams of one session; docs/timeline.md has its rules.

    A closed segment waits in three queues, one after the other: `_closed` until the data has come (then it is ready),
    `_ready` until the words have come or are too late (then it is final), `_amendable` until late words have come or
    never will (then it is frozen). Where listeners are wanted, `subject_of` says of a final segment in which somebody may speak
    whose face is its subject: a function of the revision, called when it is given out.
    """

    def __init__(
        self,
        streams: Sequence[StreamDeclaration],
        settings: TimelineSettings = TimelineSettings(),  # noqa: B008 - immutable
        *,
        ledger: Ledger | None = None,
        subject_of: Callable[[Revision], int | None] = lambda _: None,
    ) -> None:
        self.ledger = Ledger() if ledger is None else ledger
        for declaration in streams:
            self.ledger.declare(declaration.name)
        self._settings = settings
        self._retention_ns = settings.retention_ns
        self._marks = Watermarks(streams)
        self._lane = lane_of(settings.segmentation)
        self._drivers = self._marks.drivers(by_activity=self._lane.heeds_activity)
        self._retained = {stream.name: Retained(stream.modality) for stream in streams}
        self._now_ns = NEVER_NS
        self._closed: deque[Segment] = deque()
        self._ready: deque[Segment] = deque()
        self._amendable: list[Segment] = []
        self._deadlines: list[tuple[int, int, int, Segment]] = []
        self._closed_until_ns = 0
        self._eras = 0
        self._released_ns = 0
        self._subject_of = subject_of
        faces = next((s for s in self._marks.streams.values() if s.modality is Modality.VIDEO), None)
        self._listeners = Listeners(faces, settings) if settings.listener_ns and faces is not None else None

    @property
    def next_deadline_ns(self) -> int | None:
        """The arrival time at which something becomes due without an item; None where nothing will."""
        while self._deadlines:
            deadline_ns, _, stage, segment = self._deadlines[0]
            if not (segment.is_final if stage == _FINAL else segment.is_frozen):
                return deadline_ns
            heappop(self._deadlines)
        return None

    def push(self, item: Item, arrival_ns: int) -> list[Output]:
        """Takes an item at its arrival; gives what had become due before it and what it makes due, in order.

        Raises `TimelineError` for an item or arrival that can't be, and where a stream holds more than may be retained.
        """
        outputs = self.advance(arrival_ns)
        marks = self._marks
        if isinstance(item, Packet):
            if self._take_packet(item, outputs):
                self._settle(outputs)
            if self._retained[item.stream].span_ns > self._retention_ns and not self._is_left_alone(item.stream):
                raise self._retention_error(item.stream)
        elif isinstance(item, Bound):
            if self._take_bound(marks.stream(item.stream), item.bound_ns):
                self._settle(outputs)
        else:
            if isinstance(item, StreamEnd):
                stream = marks.stream(item.stream)
                if self._take_bound(stream, item.at_ns):
                    self._lane.advance(marks)
                marks.end(stream)
            elif isinstance(item, EpochStart):
                self._take_epoch(item)
            else:
                marks.set_idle(item)
            self._settle(outputs)
        self._listen(outputs)
        return outputs

    def advance(self, now_ns: int) -> list[Output]:
        """Fires the deadlines up to `now_ns`, each as if it were called exactly then."""
        if now_ns < self._now_ns:
            raise TimelineError("arrival", found=f"{now_ns} ns", expected=f"at least {self._now_ns} ns, the one before")
        outputs: list[Output] = []
        while self._deadlines and (deadline_ns := self.next_deadline_ns) is not None and deadline_ns <= now_ns:
            self._now_ns, _, stage, segment = heappop(self._deadlines)
            if stage == _FINAL:
                self._ready.remove(segment)
                self._finalise(segment, outputs)
            else:
                self._amend(segment, "time-out", outputs)
            self._release()
            self._listen(outputs)
        self._now_ns = now_ns
        return outputs

    def close(self, now_ns: int) -> list[Output]:
        """Ends what has not ended: nothing will come any more, and nothing stays open."""
        outputs = self.advance(now_ns)
        for stream in self._marks.streams.values():
            self._marks.end(stream)
            self._settle(outputs)
            self._listen(outputs)
        return outputs

    def _take_packet(self, packet: Packet, outputs: list[Output]) -> bool:
        stream = self._marks.stream(packet.stream)
        if packet.end_ns < packet.start_ns:
            raise TimelineError(
                f"packet {packet.sequence} of stream {stream.name!r}",
                found=f"end {packet.end_ns} ns",
                expected=f"at least its start, {packet.start_ns} ns",
            )
        self.ledger.received(stream.name)
        if stream.refuses(packet):
            self.ledger.decide(stream.name, (packet,), "dropped", "refused")
            return False
        self._place(packet, stream, outputs)
        if self._listeners is not None and stream is self._listeners.stream and isinstance(packet, Faces):
            self._listeners.see(packet)
        moved = self._take_bound(stream, packet.start_ns)
        if isinstance(packet, SpeechActivity) and stream is self._marks.activity:
            if moved:
                self._lane.advance(self._marks)
            self._lane.hear(packet)
            return True
        return moved

    def _take_bound(self, stream: StreamState, bound_ns: int) -> bool:
        """Whether a promise, also one that a packet or an end implies, moves any mark."""
        stream.started = stream.started or not stream.ended
        return self._marks.raise_bound(stream, bound_ns)

    def _take_epoch(self, start: EpochStart) -> None:
        if self._drivers.isdisjoint(start.streams):
            self._lane.epoch = start.epoch
        else:
            self._lane.restart(start.at_ns, start.epoch, self._marks)
        self._marks.restart(start)
        if self._listeners is not None and self._listeners.stream.source in start.streams:
            self._listeners.restart(start.at_ns)

    def _place(self, packet: Packet, stream: StreamState, outputs: list[Output]) -> None:
        """Retains a packet that a segment can use; else it is late or unclaimed."""
        start_ns, end_ns = extent(packet, stream.modality)
        holders: list[Segment] = []
        if start_ns < self._closed_until_ns:
            unfrozen = chain(self._closed, self._ready, self._amendable)
            holders = [s for s in unfrozen if max(start_ns, s.start_ns) < min(end_ns, s.end_ns)]
        if holders or self._lane.claims(start_ns, end_ns):
            used = any(segment.is_final for segment in holders)
            self._retained[stream.name].take(packet, used=used)
            if used:
                self.ledger.decide(stream.name, (packet,), "used")
        elif self._lane.claimed(start_ns, end_ns):
            self.ledger.decide(stream.name, (packet,), "late")
            outputs.append(
                Late(
                    stream=stream.name,
                    epoch=packet.epoch,
                    sequence=packet.sequence,
                    start_ns=packet.start_ns,
                    end_ns=packet.end_ns,
                    arrival_ns=self._now_ns,
                )
            )
        else:
            self.ledger.decide(stream.name, (packet,), "unclaimed")

    def _settle(self, outputs: list[Output]) -> None:
        """Works out what the marks have made due: boundaries, provisionals, readiness, finals, amendments."""
        lane, marks = self._lane, self._marks
        lane.advance(marks)
        due: list[Segment] = []
        if lane.closed:
            for segment in lane.closed:
                (due if segment.reason == "reconnect" else self._closed).append(segment)
            self._closed_until_ns = max(self._closed_until_ns, lane.closed[-1].end_ns)
            lane.closed.clear()
        self._give_provisionals(outputs)
        while self._closed and self._closed[0].end_ns <= marks.data_ns:
            segment = self._closed.popleft()
            self._ready.append(segment)
            if marks.text_ns < segment.end_ns:
                self._add_deadline(self._settings.text_lateness_ns, _FINAL, segment)
        while self._ready and self._ready[0].end_ns <= marks.text_ns:
            due.append(self._ready.popleft())
        for segment in sorted(due, key=lambda s: (s.end_ns, s.start_ns)):
            self._finalise(segment, outputs)
        for segment in [s for s in self._amendable if s.end_ns <= marks.open_text_ns]:
            self._amend(segment, "words", outputs)
        if len(lane.eras) > self._eras:
            self._eras = len(lane.eras)
            self._discard_unclaimed()
        self._release()

    def _give_provisionals(self, outputs: list[Output]) -> None:
        cadence_ns, pace_ns = self._settings.cadence_ns, self._lane.pace_ns
        for segment in self._lane.open:
            step = (pace_ns - segment.start_ns) // cadence_ns
            if step > segment.number:
                segment.number = step
                end_ns = min(segment.start_ns + step * cadence_ns, self._lane.provisional_end_ns)
                segment.shown_ns = end_ns
                outputs.append(self._revision(segment, end_ns, "provisional", "cadence"))

    def _finalise(self, segment: Segment, outputs: list[Output]) -> None:
        segment.is_final = True
        if segment.kind != "hole":
            cadence_steps = (segment.end_ns - segment.start_ns - 1) // self._settings.cadence_ns
            segment.number = 1 + max(segment.number, cadence_steps)
            for name, retained in self._retained.items():
                self.ledger.decide(name, retained.use(Span(segment.start_ns, segment.end_ns)), "used")
            if self._marks.open_text_ns < segment.end_ns:
                insort(self._amendable, segment, key=lambda s: s.start_ns)
                self._add_deadline(self._settings.amend_ns, _AMENDMENT, segment)
        revision = self._revision(segment, segment.end_ns, "final", segment.reason)
        outputs.append(revision)
        if self._listeners is not None and segment.kind not in _MUTE and (track := self._subject_of(revision)) is not None:
            self._listeners.speaks(revision.span, track)

    def _amend(self, segment: Segment, reason: Reason, outputs: list[Output]) -> None:
        self._amendable.remove(segment)
        segment.is_frozen = True
        segment.number += 1
        outputs.append(self._revision(segment, segment.end_ns, "amended", reason))

    def _revision(self, segment: Segment, end_ns: int, status: Status, reason: Reason) -> Revision:
        span, max_gap_ns = Span(segment.start_ns, end_ns), self._settings.max_gap_ns
        slices = (
            ()
            if segment.kind == "hole"
            else tuple(
                slice_of(stream, self._retained[stream.name].members(span), span, status, max_gap_ns)
                for stream in self._marks.streams.values()
            )
        )
        return Revision(
            source_epoch=segment.epoch,
            lane=SPEECH_LANE,
            kind=segment.kind,
            start_ns=segment.start_ns,
            end_ns=end_ns,
            continues=segment.continues,
            number=segment.number,
            status=status,
            reason=reason,
            decided_ns=self._now_ns,
            slices=slices,
        )

    def _add_deadline(self, after_ns: int, stage: int, segment: Segment) -> None:
        heappush(self._deadlines, (self._now_ns + after_ns, segment.start_ns, stage, segment))

    def _listen(self, outputs: list[Output]) -> None:
        """Gives out the listeners' windows that end before the first segment of the speech lane that is not final."""
        if self._listeners is not None:
            decided_ns = FOREVER_NS if self._lane.ended else self._lane.boundary_ns
            for waiting in (self._closed, self._ready):
                if waiting and waiting[0].start_ns < decided_ns:
                    decided_ns = waiting[0].start_ns
            outputs += self._listeners.due(decided_ns, self._now_ns)

    def _is_left_alone(self, name: str) -> bool:
        """Whether it is words while all else is silent: a few a second, which wait for whatever comes back."""
        return self._marks.data_ns == FOREVER_NS and self._marks.stream(name).modality is Modality.TEXT

    def _retention_error(self, name: str) -> TimelineError:
        holding = self._marks.holding
        where = "nothing" if holding.bound_ns == NEVER_NS else f"its bound {holding.bound_ns} ns"
        return TimelineError(
            f"stream {name!r} can't be let go: stream {holding.name!r} holds everything back with {where}",
            found=f"{self._retained[name].span_ns} ns retained",
            expected=f"at most {self._retention_ns} ns",
            fix=f"stream {holding.name!r} must go on, be declared idle, or end",
        )

    def _discard_unclaimed(self) -> None:
        """A cut of the lane leaves packets behind that nothing will claim."""
        unfrozen = [*self._closed, *self._ready, *self._amendable]

        def lost(start_ns: int, end_ns: int) -> bool:
            held = any(max(start_ns, s.start_ns) < min(end_ns, s.end_ns) for s in unfrozen)
            return not held and not self._lane.claims(start_ns, end_ns)

        for name, retained in self._retained.items():
            self.ledger.decide(name, retained.discard(lost), "unclaimed")

    def _release(self) -> None:
        """Lets go what only frozen segments hold."""
        needed_ns = self._lane.boundary_ns
        for waiting in (self._closed, self._ready, self._amendable):
            if waiting and waiting[0].start_ns < needed_ns:
                needed_ns = waiting[0].start_ns
        if needed_ns > self._released_ns:
            self._released_ns = needed_ns
            for retained in self._retained.values():
                retained.release(needed_ns)


def lane_of(settings: SegmentationSettings) -> Lane:
    """The lane that follows a policy."""
    if isinstance(settings, UtteranceSettings):
        return Utterances(settings)
    return Windows(settings) if isinstance(settings, WindowSettings) else Lines(settings)
