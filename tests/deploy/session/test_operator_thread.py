from __future__ import annotations

import threading

import pytest

from deploy.session.operator_thread import OperatorThread, await_result
from stream.errors import OperatorError


def test_calls_run_in_order_in_one_thread() -> None:
    thread = OperatorThread("order")
    seen: list[tuple[int, int]] = []
    futures = [thread.submit(lambda n=n: seen.append((n, threading.get_ident()))) for n in range(50)]
    for future in futures:
        await_result("order", future, 10)
    assert [n for n, _ in seen] == list(range(50))
    assert len({ident for _, ident in seen}) == 1
    thread.close()


def test_an_error_names_the_operator_and_later_calls_still_run() -> None:
    thread = OperatorThread("faces")
    with pytest.raises(OperatorError, match="operator faces: found ValueError: bad crop"):
        await_result("faces", thread.submit(_raise), 10)
    assert await_result("faces", thread.submit(int, "7"), 10) == 7
    thread.close()


def test_a_call_that_hangs_is_told_by_its_name() -> None:
    thread, release = OperatorThread("stuck"), threading.Event()
    answer = thread.submit(release.wait)
    with pytest.raises(OperatorError, match=r"operator stuck: found no answer within 0.01 s"):
        await_result("stuck", answer, 0.01)
    release.set()
    thread.close()


def _raise() -> None:
    raise ValueError("bad crop")
