"""The session engine: readers, operator threads, the door, the aligner and the segment operators, for either runtime.

The reader stamps each read with its arrival and hands its items to the operators of their streams; what they give joins the
read again at the door, in order, so that thread timing changes nothing. Only the door touches the aligner. Of live sources the
reads come from `LiveReading`; what then is left out while the session is behind, `Ladder` says.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Literal

import msgspec

from deploy.session.listening import speaking_track
from deploy.session.operator_calls import call_all
from deploy.session.operator_thread import OperatorThread, await_result
from deploy.session.plan import SessionPlan
from deploy.session.queues import Budget, Channel
from deploy.session.reading import Read, read_virtual
from deploy.session.shedding import Ladder, Step, without_frames
from deploy.session.submitting import SessionNotice, Submitter
from operators.batching import as_operator_error
from stream.prediction import Prediction
from stream.recording.entries import Advanced, ClockUncertainty, Closed, Dropped, Entry
from stream.timeline.alignment import Aligner
from stream.timeline.dispositions import StreamDispositions
from stream.timeline.packets import Bound, EpochStart, Item, Packet, StreamActive, StreamEnd, StreamIdle
from stream.timeline.segments import Late, Revision
from stream.timeline.time import NS_PER_SECOND


class _Ticket(msgspec.Struct, frozen=True, eq=False):
    """Consecutive reads on their way to the door, and what each operator will give for their items."""

    reads: list[tuple[Read, list[Item | _Answer]]]
    answers: dict[str, Future[list[list[Item] | Exception]]]


class _Answer(msgspec.Struct, frozen=True, eq=False):
    """The place of what an operator will give for an item, among all that it gives for the ticket."""

    operator: str
    item: Item
    place: int


class Session:
    """One session from its sources to its predictions; iterate it once.

    Readable sources run on virtual time: nothing is dropped, queues make the reader wait, and a run is a function of the
    sources. `pace`, where given, is called with each arrival before the read is taken on, and may wait (real time) or stop
    the session (False); without it, reads are taken on in groups. Live sources run on the monotonic clock: they never wait.
    """

    def __init__(self, plan: SessionPlan, pace: Callable[[int], bool] | None = None) -> None:
        self._plan = plan
        self._pace = pace
        self._aligner = Aligner(plan.streams, plan.timeline, subject_of=speaking_track(plan.timeline))
        self._budget = Budget(plan.engine.budget_bytes, plan.engine.budget_span_ns)
        self._tickets: Channel[_Ticket] = Channel(capacity=1 << 20)  # the budget is what bounds it
        self._answers: Channel[Future[Prediction]] = Channel(plan.engine.predictions_under_way)
        self._operators = {op.name: op for ops in plan.operators.values() for op in ops}
        self._threads = {name: OperatorThread(name) for name in self._operators}
        if plan.live is not None and plan.recorder is not None:
            plan.live.heed = plan.recorder.clocks
        self._position_ns = 0
        self._untold: Counter[tuple[str, str]] = Counter()
        self._told_ns = 0
        self._submitter: Submitter | None = None
        if plan.predictor is not None:
            self._submitter = Submitter(
                plan.predictor,
                self._answers,
                provisionals=plan.provisionals,
                ladder=Ladder(plan.shedding) if plan.live is not None else None,
                recorder=plan.recorder,
                notify=plan.notify,
                amend_ns=plan.timeline.amend_ns,
            )

    @property
    def position_ns(self) -> int:
        """How far the door has come, in session time."""
        return self._position_ns

    def dispositions(self) -> dict[str, StreamDispositions]:
        """What became of every packet so far, by stream."""
        return self._aligner.ledger.summary()

    def operator_busy_ns(self) -> dict[str, int]:
        """CPU time that each stream operator's thread has spent in its calls."""
        return {name: thread.busy_ns for name, thread in self._threads.items()}

    def __iter__(self) -> Iterator[Prediction]:
        """Predictions in the order in which the aligner decided them. Raises what failed, after what came before it."""
        reader = threading.Thread(target=self._read, name="reader", daemon=True)
        door = threading.Thread(target=self._align, name="door", daemon=True)
        reader.start()
        door.start()
        try:
            for answer in self._answers:
                yield await_result("prediction", answer, self._plan.engine.call_deadline_s)
        finally:
            self.stop()
            door.join(self._plan.engine.call_deadline_s)
            reader.join(self._plan.engine.stop_deadline_s)

    def stop(self) -> None:
        """Ends the session where it stands, from any thread: what has been decided and not yet been read is forgotten."""
        if self._plan.live is not None:
            self._plan.live.close()
        self._budget.close()
        self._tickets.close(discard=True)
        self._answers.close(discard=True)
        for thread in self._threads.values():
            thread.close()

    def _read(self) -> None:
        """The reader's thread: owns the sources."""
        try:
            for group in self._groups():
                if not self._budget.acquire(sum(read.size for read in group), group[0].arrival_ns):
                    break
                if not self._tickets.put(self._dispatch(group)):
                    break
            self._tickets.close()
        except Exception as error:  # raised again where the session is iterated
            self._tickets.close(error)
        finally:
            for source in self._plan.sources:
                source.close()

    def _groups(self) -> Iterator[list[Read]]:
        """Reads that go to the operators together: one by one where they are paced."""
        if self._plan.live is not None:
            for reads in self._plan.live.reads():
                if self._plan.recorder is not None:
                    self._plan.recorder.read([item for read in reads for item in read.items])
                yield reads
            return
        group: list[Read] = []
        for read in read_virtual(self._plan.sources):
            if self._plan.recorder is not None:
                self._plan.recorder.read(read.items)
            if self._pace is not None:
                if not self._pace(read.arrival_ns):
                    return
                yield [read]
                continue
            if group and read.arrival_ns - group[0].arrival_ns > self._plan.engine.group_span_ns:
                yield group
                group = []
            group.append(read)
        if group:
            yield group

    def _dispatch(self, group: list[Read]) -> _Ticket:
        """Hands the items of a group to the operators of their streams; a ticket says where the answers belong."""
        inputs: dict[str, list[Item]] = {name: [] for name in self._threads}
        if self._plan.live is not None:
            step = self._submitter.step if self._submitter is not None else Step.NOTHING
            group = [without_frames(read, step, self._plan.picks_per_second) for read in group]
        reads = [(read, [part for item in read.items for part in self._parts(item, inputs)]) for read in group]
        answers = {
            name: self._threads[name].submit(call_all, self._operators[name], items) for name, items in inputs.items() if items
        }
        return _Ticket(reads, answers)

    def _parts(self, item: Item, inputs: dict[str, list[Item]]) -> list[Item | _Answer]:
        names = item.streams if isinstance(item, EpochStart) else (item.stream,)
        operators = [op for name in names for op in self._plan.operators.get(name, ())]
        parts: list[Item | _Answer] = []
        for operator in operators:
            parts.append(_Answer(operator.name, item, len(inputs[operator.name])))
            inputs[operator.name].append(item)
        # A stream that an operator gives again under its own name reaches the door through the operator alone.
        if isinstance(item, Packet | Bound) and any(op.output == item.stream for op in operators):
            return parts
        # What an operator still holds comes before the end, or the new epoch, that it belongs before.
        return [*parts, item] if isinstance(item, StreamEnd | EpochStart) else [item, *parts]

    def _align(self) -> None:
        """The door's thread: owns the aligner."""
        arrival_ns = 0
        try:
            for ticket in self._tickets:
                for read, parts in ticket.reads:
                    arrival_ns = read.arrival_ns
                    self._take(read, parts, ticket)
                    self._position_ns = arrival_ns
                self._budget.release()
                if arrival_ns - self._told_ns >= NS_PER_SECOND:
                    self._tell_drops(arrival_ns)
                if self._submitter is not None and self._plan.live is not None:
                    self._submitter.observe(arrival_ns, self._plan.live.now_ns())
            for source in self._plan.sources:
                for stream, count in source.dropped.items():
                    self._drop(Dropped(stream=stream, reason="refused", count=count), arrival_ns)
            self._tell_drops(arrival_ns)
            self._record(Closed(), arrival_ns)
            self._submit(self._aligner.close(arrival_ns), arrival_ns)
            if self._plan.predictor is not None:
                self._plan.predictor.finish()
            self._answers.close()
        except Exception as error:  # raised again where the session is iterated
            self._answers.close(error)
            self._budget.close()

    def _take(self, read: Read, parts: list[Item | _Answer], ticket: _Ticket) -> None:
        """One read, with what the operators gave for it, passes the door."""
        arrival_ns = read.arrival_ns
        for dropped in read.dropped:
            self._drop(dropped, arrival_ns)
        if self._submitter is not None and self._submitter.uncertainty_ns != read.uncertainty_ns:
            self._submitter.uncertainty_ns = read.uncertainty_ns
            self._record(ClockUncertainty(uncertainty_ns=read.uncertainty_ns), arrival_ns)
        for part in parts:
            for item in self._items(part, ticket, arrival_ns):
                self._record(item, arrival_ns)
                self._submit(self._aligner.push(item, arrival_ns), arrival_ns)
                if isinstance(item, StreamIdle | StreamActive):
                    event: Literal["stream-idle", "stream-back"]
                    event = "stream-idle" if isinstance(item, StreamIdle) else "stream-back"
                    self._notify(SessionNotice(event=event, start_ns=item.at_ns, stream=item.stream))
        if not parts and (outputs := self._aligner.advance(arrival_ns)):
            self._record(Advanced(), arrival_ns)
            self._submit(outputs, arrival_ns)

    def _drop(self, dropped: Dropped, arrival_ns: int) -> None:
        """Packets that came and don't reach the aligner."""
        self._record(dropped, arrival_ns)
        self._aligner.ledger.received_and_dropped(dropped.stream, dropped.reason, dropped.count)
        if dropped.reason != "sampling":
            self._untold[dropped.stream, dropped.reason] += dropped.count

    def _tell_drops(self, arrival_ns: int) -> None:
        """Drops are told by the second, not by the frame."""
        for (stream, reason), count in self._untold.items():
            notice = SessionNotice(
                event="drops", start_ns=self._told_ns, end_ns=arrival_ns, stream=stream, count=count, detail=reason
            )
            self._notify(notice)
        self._untold.clear()
        self._told_ns = arrival_ns

    def _record(self, entry: Entry, arrival_ns: int) -> None:
        if self._plan.recorder is not None:
            self._plan.recorder.entry(entry, arrival_ns)

    def _notify(self, notice: SessionNotice) -> None:
        if self._plan.notify is not None:
            self._plan.notify(notice)

    def _items(self, part: Item | _Answer, ticket: _Ticket, arrival_ns: int) -> list[Item]:
        if not isinstance(part, _Answer):
            return [part]
        answers = await_result(part.operator, ticket.answers[part.operator], self._plan.engine.call_deadline_s)
        items = answers[part.place]
        if isinstance(items, Exception):
            raise as_operator_error(part.operator, items) from items
        if isinstance(part.item, Packet) and not any(isinstance(i, Packet) for i in items):
            stream = part.item.stream
            if all(i.stream == stream for i in items if isinstance(i, Bound)):
                self._drop(Dropped(stream=stream, reason="sampling", count=1), arrival_ns)
        return items

    def _submit(self, outputs: Sequence[Revision | Late], arrival_ns: int) -> None:
        for output in outputs:
            # Late packets are counted by the ledger; they have no prediction of their own.
            if isinstance(output, Late):
                self._notify(SessionNotice(event="late", start_ns=output.start_ns, stream=output.stream, count=1))
            elif self._submitter is not None:
                self._submitter.submit(output, arrival_ns)
