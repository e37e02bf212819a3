"""Batches for stateless operators: earliest event-time deadline first, grouped by bucket. Used by both runtimes."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from stream.errors import OperatorError

Request = TypeVar("Request")
Result = TypeVar("Result")


class BatchQueue(Generic[Request]):
    """Requests in order of their event-time deadline; pure, owned by one caller, who tells the time.

    A batch holds requests of one bucket only (model digest and padded shape), so that it is one call at one shape. It is
    due when it is full, or when one of its bucket's requests will wait for others no longer.
    """

    def __init__(self, max_batch: int) -> None:
        self._max_batch = max_batch
        self._order = itertools.count()
        self._buckets: dict[Hashable, list[tuple[int, int, float, Request]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def push(self, request: Request, deadline_ns: int, bucket: Hashable = None, *, waits_until_s: float = -math.inf) -> None:
        """Adds a request; those of equal deadline keep the order in which they came."""
        heapq.heappush(self._buckets.setdefault(bucket, []), (deadline_ns, next(self._order), waits_until_s, request))

    def pop_batch(self, now_s: float = math.inf) -> list[Request]:
        """Of the batches that are due, the one with the most urgent request, its requests in order; empty when none is due."""
        due = [name for name in self._buckets if self._due_s(name) <= now_s]
        if not due:
            return []
        bucket = min(due, key=lambda name: self._buckets[name][0][:2])
        heap = self._buckets[bucket]
        batch = [heapq.heappop(heap)[-1] for _ in range(min(self._max_batch, len(heap)))]
        if not heap:
            del self._buckets[bucket]
        return batch

    def next_due_s(self) -> float:
        """When the next batch is due as things stand, in the caller's time; infinite when nothing is queued."""
        return min(map(self._due_s, self._buckets), default=math.inf)

    def flush(self) -> None:
        """Nothing that is queued waits for others any longer."""
        for bucket, heap in self._buckets.items():
            self._buckets[bucket] = [(deadline_ns, order, -math.inf, request) for deadline_ns, order, _, request in heap]

    def _due_s(self, bucket: Hashable) -> float:
        heap = self._buckets[bucket]
        return -math.inf if len(heap) >= self._max_batch else min(waits_until_s for _, _, waits_until_s, _ in heap)


class Batcher(Generic[Request, Result]):
    """One thread that calls `infer` on batches of what was submitted.

    `infer` maps a batch to as many results, in order. What it raises reaches the callers of that batch as
    `OperatorError`; the thread goes on. `busy_ns` adds up the CPU time of the thread inside `infer`.
    """

    def __init__(self, name: str, infer: Callable[[Sequence[Request]], Sequence[Result]], *, max_batch: int = 1) -> None:
        self.name = name
        self.busy_ns = 0
        self._infer = infer
        self._queue: BatchQueue[tuple[Request, Future[Result]]] = BatchQueue(max_batch)
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"batcher-{name}", daemon=True)
        self._thread.start()

    def submit(self, request: Request, deadline_ns: int, bucket: Hashable = None, *, patience_s: float = 0.0) -> Future[Result]:
        """Queues a request, which waits for others of its bucket at most `patience_s` seconds while they make no full batch.

        Raises `OperatorError` once closed.
        """
        future: Future[Result] = Future()
        with self._changed:
            if self._closed:
                raise OperatorError(f"operator {self.name}", found="closed", expected="open", fix="open a new session")
            self._queue.push((request, future), deadline_ns, bucket, waits_until_s=time.monotonic() + patience_s)
            self._changed.notify()
        return future

    def flush(self) -> None:
        """Nothing more will come soon: what is queued waits for no others."""
        with self._changed:
            self._queue.flush()
            self._changed.notify()

    def close(self, deadline_s: float = 10.0) -> None:
        """Takes nothing more and waits until what is queued has been answered, at most `deadline_s` seconds.

        A thread that is still inside native code when the interpreter ends brings the process down.
        """
        with self._changed:
            self._closed = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(deadline_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (batch := self._queue.pop_batch(math.inf if self._closed else time.monotonic())):
                    if self._closed:
                        return
                    waits_until_s = self._queue.next_due_s()
                    self._changed.wait(None if waits_until_s == math.inf else max(0.0, waits_until_s - time.monotonic()))
            before_ns = time.thread_time_ns()
            answer_batch(self.name, self._infer, batch)
            self.busy_ns += time.thread_time_ns() - before_ns


def answer_batch(name: str, infer: Callable[[Sequence[Any]], Sequence[Any]], batch: Sequence[tuple[Any, Future[Any]]]) -> None:
    """Calls `infer` on the requests of a batch and gives each future its result, or all of them the error."""
    try:
        results = infer([request for request, _ in batch])
        if len(results) != len(batch):
            raise OperatorError(f"operator {name}", found=f"{len(results)} results", expected=f"{len(batch)}")
    except Exception as error:  # any failure of an operator is its callers' to handle, never this thread's
        failure = as_operator_error(name, error)
        for _, future in batch:
            future.set_exception(failure)
        return
    for (_, future), result in zip(batch, results, strict=True):
        future.set_result(result)


def as_operator_error(name: str, error: BaseException) -> OperatorError:
    """The error with the operator's name; its type and message are kept, the original is its cause."""
    if isinstance(error, OperatorError):
        return error
    failure = OperatorError(f"operator {name}", found=f"{type(error).__name__}: {error}", fix="run with --debug for the trace")
    failure.__cause__ = error
    return failure
