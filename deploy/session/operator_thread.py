"""One thread for one native operator: calls in order, answers as futures, a deadline on the wait."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from operators.batching import as_operator_error
from stream.errors import OperatorError

Result = TypeVar("Result")


class OperatorThread:
    """Runs the calls of one stateful operator one after another, in a thread of its own.

    Native libraries release the interpreter while they work, so operators run beside each other; the thread is a daemon,
    since a call that hangs can't be ended. `busy_ns` adds up the CPU time spent inside calls.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.busy_ns = 0
        self._calls: queue.SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...], Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"operator-{name}", daemon=True)
        self._thread.start()

    def submit(self, call: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Queues a call; its bound is the session's budget, which counts what is under way."""
        future: Future[Result] = Future()
        self._calls.put((call, arguments, future))
        return future

    def close(self, deadline_s: float = 0.5) -> None:
        """Ends the thread after what is queued; waits for that at most `deadline_s` seconds."""
        self._calls.put(None)
        self._thread.join(deadline_s)

    def _run(self) -> None:
        while (entry := self._calls.get()) is not None:
            call, arguments, future = entry
            before_ns = time.thread_time_ns()
            try:
                future.set_result(call(*arguments))
            except Exception as error:  # reaches the session through the future
                future.set_exception(as_operator_error(self.name, error))
            self.busy_ns += time.thread_time_ns() - before_ns
            del entry, call, arguments, future


def await_result(name: str, future: Future[Result], deadline_s: float) -> Result:
    """The future's result; `OperatorError` that names the operator where none comes within `deadline_s` seconds."""
    try:
        return future.result(timeout=deadline_s)
    except TimeoutError as error:
        raise OperatorError(
            f"operator {name}",
            found=f"no answer within {deadline_s:g} s",
            expected="an answer",
            fix="it hangs or the machine is far too slow; raise call_deadline_s if it is slow",
        ) from error
