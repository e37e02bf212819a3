"""The session engine: readers, operator threads, the door, the aligner and the segment operators, for either runtime.

The reader stamps each read with its arrival and hands its items to the operators of their streams; what they give joins the
read again at the door, in order, so that thread timing changes nothing. Only the door touches the aligner.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import msgspec

from deploy.session.operator_thread import OperatorThread, await_result
from deploy.session.predicting import Predictor
from deploy.session.queues import Budget, Channel
from deploy.session.reading import Read, read_virtual
from deploy.session.recorder import SessionRecorder
from deploy.settings import EngineSettings
from operators.batching import as_operator_error
from operators.interface import CompletingOperator, StreamOperator
from stream.prediction import Prediction
from stream.recording.entries import Closed, Dropped
from stream.sources.readable import ReadableSource
from stream.timeline.alignment import Aligner
from stream.timeline.dispositions import DropReason, StreamDispositions
from stream.timeline.packets import Bound, EpochStart, Item, Packet, StreamEnd
from stream.timeline.segments import Late, Revision
from stream.timeline.settings import TimelineSettings
from stream.timeline.watermark import StreamDeclaration


class SessionPlan(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a session consists of: its sources, streams in order, and the operators of each source stream by its name.

    Without a `predictor` nothing is predicted; `recorder` gets what passes the door, in order.
    """

    sources: Sequence[ReadableSource]
    streams: Sequence[StreamDeclaration]
    operators: Mapping[str, Sequence[StreamOperator]]
    predictor: Predictor | None
    timeline: TimelineSettings
    engine: EngineSettings
    provisionals: bool = True
    recorder: SessionRecorder | None = None


class _Ticket(msgspec.Struct, frozen=True, eq=False):
    """Consecutive reads on their way to the door, and what each operator will give for their items."""

    reads: list[tuple[int, list[Item | _Answer]]]
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
    the session (False); without it, reads are taken on in groups.
    """

    def __init__(self, plan: SessionPlan, pace: Callable[[int], bool] | None = None) -> None:
        self._plan = plan
        self._pace = pace
        self._aligner = Aligner(plan.streams, plan.timeline)
        self._budget = Budget(plan.engine.budget_bytes, plan.engine.budget_span_ns)
        self._tickets: Channel[_Ticket] = Channel(capacity=1 << 20)  # the budget is what bounds it
        self._answers: Channel[Future[Prediction]] = Channel(plan.engine.predictions_under_way)
        self._operators = {op.name: op for ops in plan.operators.values() for op in ops}
        self._threads = {name: OperatorThread(name) for name in self._operators}
        self._declared = {stream.name for stream in plan.streams}
        self._position_ns = 0

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
        reads = [(read.arrival_ns, [part for item in read.items for part in self._parts(item, inputs)]) for read in group]
        answers = {
            name: self._threads[name].submit(_call_all, self._operators[name], items) for name, items in inputs.items() if items
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
        return [*parts, item] if isinstance(item, StreamEnd) else [item, *parts]

    def _align(self) -> None:
        """The door's thread: owns the aligner."""
        arrival_ns = 0
        recorder = self._plan.recorder
        try:
            for ticket in self._tickets:
                for arrival_ns, parts in ticket.reads:
                    for part in parts:
                        for item in self._items(part, ticket, arrival_ns):
                            if recorder is not None:
                                recorder.entry(item, arrival_ns)
                            self._publish(self._aligner.push(item, arrival_ns))
                    self._position_ns = arrival_ns
                self._budget.release()
            for source in self._plan.sources:
                for stream, count in source.dropped.items():
                    self._drop(stream, "refused", count, arrival_ns)
            if recorder is not None:
                recorder.entry(Closed(), arrival_ns)
            self._publish(self._aligner.close(arrival_ns))
            if self._plan.predictor is not None:
                self._plan.predictor.finish()
            self._answers.close()
        except Exception as error:  # raised again where the session is iterated
            self._answers.close(error)
            self._budget.close()

    def _drop(self, stream: str, reason: DropReason, count: int, arrival_ns: int) -> None:
        """Packets that came and don't reach the aligner."""
        if self._plan.recorder is not None:
            self._plan.recorder.entry(Dropped(stream=stream, reason=reason, count=count), arrival_ns)
        self._aligner.ledger.received_and_dropped(stream, reason, count)

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
                self._drop(stream, "sampling", 1, arrival_ns)
        return items

    def _publish(self, outputs: Sequence[Revision | Late]) -> None:
        predictor = self._plan.predictor
        if predictor is None:
            return
        for output in outputs:
            # Late packets are counted by the ledger; they have no prediction of their own.
            if isinstance(output, Revision) and (self._plan.provisionals or output.status != "provisional"):
                self._answers.put(predictor.submit(output))


def _call_all(operator: StreamOperator, items: Sequence[Item]) -> list[list[Item] | Exception]:
    """What an operator gives for each item; its error takes the place of what it could not give, and ends the list."""
    answers: list[list[Item] | Exception] = []
    for item in items:
        try:
            answers.append(_call(operator, item))
        except Exception as error:  # raised at the door, after what came before it
            answers.append(error)
            break
    return _complete(operator, answers) if isinstance(operator, CompletingOperator) else answers


def _complete(operator: CompletingOperator, answers: list[list[Item] | Exception]) -> list[list[Item] | Exception]:
    """The answers with their packets completed together; where that fails, one by one, until the one that it fails for."""
    given = [answer for answer in answers if not isinstance(answer, Exception)]
    packets = [item for answer in given for item in answer if isinstance(item, Packet)]
    if not packets:
        return answers
    try:
        completed = [packet for _, packet in zip(packets, operator.complete(packets), strict=True)]
    except Exception as error:  # raised at the door, after what came before it
        if len(answers) == 1:
            return [error]
        alone: list[list[Item] | Exception] = []
        for answer in answers:
            alone += _complete(operator, [answer])
            if isinstance(alone[-1], Exception):
                break
        return alone
    following = iter(completed)
    return [
        answer if isinstance(answer, Exception) else [next(following) if isinstance(i, Packet) else i for i in answer]
        for answer in answers
    ]


def _call(operator: StreamOperator, item: Item) -> list[Any]:
    """The one place that knows which of an operator's methods an item means."""
    if isinstance(item, Packet):
        return list(operator.process(item))
    if isinstance(item, Bound):
        return list(operator.bound(item.bound_ns))
    if isinstance(item, EpochStart):
        operator.reset(item.epoch, item.at_ns)
    elif isinstance(item, StreamEnd):
        return list(operator.finish(item.at_ns))
    return []
