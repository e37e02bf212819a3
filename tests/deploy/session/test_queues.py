from __future__ import annotations

import threading

import pytest

from deploy.session.queues import Budget, Channel
from stream.errors import OperatorError

WAIT_S = 10


def in_thread(call, *arguments) -> tuple[threading.Thread, list]:
    answers: list = []
    thread = threading.Thread(target=lambda: answers.append(call(*arguments)), daemon=True)
    thread.start()
    return thread, answers


def test_a_read_larger_than_the_budget_passes_when_nothing_is_under_way() -> None:
    budget = Budget(max_bytes=10, max_span_ns=100)
    assert budget.acquire(1_000, 0)


@pytest.mark.parametrize(("size", "arrival_ns"), [(6, 10), (1, 101)], ids=["bytes", "span"])
def test_a_reader_waits_until_the_oldest_read_has_passed_the_door(size: int, arrival_ns: int) -> None:
    budget = Budget(max_bytes=10, max_span_ns=100)
    assert budget.acquire(5, 0)
    reader, answers = in_thread(budget.acquire, size, arrival_ns)
    reader.join(0.05)
    assert reader.is_alive()
    budget.release()
    reader.join(WAIT_S)
    assert answers == [True]


def test_closing_lets_a_waiting_reader_go_without_room() -> None:
    budget = Budget(max_bytes=1, max_span_ns=1)
    assert budget.acquire(1, 0)
    reader, answers = in_thread(budget.acquire, 1, 0)
    budget.close()
    reader.join(WAIT_S)
    assert answers == [False]


def test_a_channel_keeps_order_and_ends_when_closed_and_empty() -> None:
    channel: Channel[int] = Channel(capacity=2)
    writer, answers = in_thread(lambda: [channel.put(entry) for entry in range(5)] and channel.close())
    assert list(channel) == [0, 1, 2, 3, 4]
    writer.join(WAIT_S)
    assert answers == [None]


def test_a_closed_channel_refuses_writers_that_wait() -> None:
    channel: Channel[int] = Channel(capacity=1)
    assert channel.put(1)
    writer, answers = in_thread(channel.put, 2)
    channel.close(discard=True)
    writer.join(WAIT_S)
    assert answers == [False]
    assert list(channel) == []


def test_the_error_comes_after_what_came_before_it_and_the_first_one_stands() -> None:
    channel: Channel[int] = Channel(capacity=4)
    channel.put(1)
    channel.close(OperatorError("operator faces"))
    channel.close(OperatorError("operator voice"))
    reader = iter(channel)
    assert next(reader) == 1
    with pytest.raises(OperatorError, match="operator faces"):
        next(reader)
