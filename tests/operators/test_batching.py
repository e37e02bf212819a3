from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.batching import Batcher, BatchQueue
from stream.errors import OperatorError


def drain(queue: BatchQueue[int]) -> list[list[int]]:
    batches = []
    while batch := queue.pop_batch():
        batches.append(batch)
    return batches


def test_the_earliest_deadline_leaves_first_and_equal_ones_in_order_of_coming() -> None:
    queue: BatchQueue[int] = BatchQueue(max_batch=2)
    for request, deadline_ns in enumerate([30, 10, 20, 10]):
        queue.push(request, deadline_ns)
    assert drain(queue) == [[1, 3], [2, 0]]


def test_a_batch_never_mixes_buckets() -> None:
    queue: BatchQueue[int] = BatchQueue(max_batch=8)
    for request in range(6):
        queue.push(request, deadline_ns=request, bucket=("model", request % 2))
    assert drain(queue) == [[0, 2, 4], [1, 3, 5]]


@given(
    requests=st.lists(st.tuples(st.integers(0, 50), st.sampled_from("ab")), max_size=40),
    max_batch=st.integers(1, 5),
)
def test_every_request_leaves_once_and_the_first_of_a_batch_is_the_most_urgent(
    requests: list[tuple[int, str]], max_batch: int
) -> None:
    queue: BatchQueue[int] = BatchQueue(max_batch)
    for index, (deadline_ns, bucket) in enumerate(requests):
        queue.push(index, deadline_ns, bucket)
    batches = drain(queue)
    assert sorted(index for batch in batches for index in batch) == list(range(len(requests)))
    assert len(queue) == 0
    left = set(range(len(requests)))
    for batch in batches:
        assert len({requests[index][1] for index in batch}) == 1
        assert len(batch) <= max_batch
        assert requests[batch[0]][0] == min(requests[index][0] for index in left)
        left -= set(batch)


def test_a_batch_that_is_not_full_waits_for_the_shortest_patience_in_its_bucket() -> None:
    queue: BatchQueue[str] = BatchQueue(max_batch=3)
    assert queue.next_due_s() == float("inf")
    queue.push("calm", deadline_ns=1, waits_until_s=9.0)
    queue.push("hurried", deadline_ns=2, waits_until_s=5.0)
    assert queue.next_due_s() == 5.0
    assert queue.pop_batch(4.9) == []
    assert queue.pop_batch(5.0) == ["calm", "hurried"]
    assert queue.pop_batch(100.0) == []


def test_a_full_batch_waits_no_longer_and_what_is_beyond_it_waits_on() -> None:
    queue: BatchQueue[int] = BatchQueue(max_batch=2)
    for request in range(3):
        queue.push(request, deadline_ns=-request, waits_until_s=7.0)
    assert queue.next_due_s() == -float("inf")
    assert queue.pop_batch(0.0) == [2, 1]
    assert queue.pop_batch(6.9) == []
    assert queue.pop_batch(7.0) == [0]


def test_who_waits_holds_up_no_other_bucket() -> None:
    queue: BatchQueue[str] = BatchQueue(max_batch=4)
    queue.push("urgent and patient", deadline_ns=0, bucket="a", waits_until_s=3.0)
    queue.push("later", deadline_ns=9, bucket="b")
    assert queue.pop_batch(1.0) == ["later"]
    assert queue.pop_batch(1.0) == []
    queue.flush()
    assert queue.pop_batch(1.0) == ["urgent and patient"]


@given(
    requests=st.lists(st.tuples(st.integers(0, 9), st.sampled_from("ab"), st.integers(0, 9)), max_size=30),
    max_batch=st.integers(1, 5),
    now_s=st.integers(0, 9),
)
def test_nothing_that_is_due_stays_and_nothing_leaves_before_it_is(
    requests: list[tuple[int, str, int]], max_batch: int, now_s: int
) -> None:
    queue: BatchQueue[tuple[str, int]] = BatchQueue(max_batch)
    for deadline_ns, bucket, waits_until_s in requests:
        queue.push((bucket, waits_until_s), deadline_ns, bucket, waits_until_s=waits_until_s)
    left = [(bucket, waits_until_s) for _, bucket, waits_until_s in requests]
    while batch := queue.pop_batch(now_s):
        ours = [waits_until_s for bucket, waits_until_s in left if bucket == batch[0][0]]
        assert len(ours) >= max_batch or min(ours) <= now_s
        assert len(batch) == min(len(ours), max_batch)
        for request in batch:
            left.remove(request)
    assert len(queue) == len(left)
    for bucket in "ab":
        ours = [waits_until_s for name, waits_until_s in left if name == bucket]
        assert len(ours) < max_batch
        assert all(waits_until_s > now_s for waits_until_s in ours)
    assert queue.next_due_s() == min((waits_until_s for _, waits_until_s in left), default=float("inf"))


def test_requests_wait_for_a_full_batch_a_flush_or_one_without_patience() -> None:
    batches: list[list[int]] = []

    def infer(batch: Sequence[int]) -> Sequence[int]:
        batches.append(list(batch))
        return batch

    batcher: Batcher[int, int] = Batcher("same", infer, max_batch=3)
    full = [batcher.submit(request, deadline_ns=request, patience_s=1e6) for request in range(3)]
    assert [future.result(10) for future in full] == [0, 1, 2]
    flushed = [batcher.submit(request, deadline_ns=request, patience_s=1e6) for request in (3, 4)]
    batcher.flush()
    assert [future.result(10) for future in flushed] == [3, 4]
    patient = batcher.submit(5, deadline_ns=5, patience_s=1e6)
    hurried = batcher.submit(6, deadline_ns=6)
    assert [patient.result(10), hurried.result(10)] == [5, 6]
    closed = batcher.submit(7, deadline_ns=7, patience_s=1e6)
    batcher.close()
    assert closed.result(10) == 7
    assert batches == [[0, 1, 2], [3, 4], [5, 6], [7]]


def test_patience_comes_to_an_end() -> None:
    batcher: Batcher[int, int] = Batcher("same", list, max_batch=8)
    assert batcher.submit(1, deadline_ns=0, patience_s=1e-3).result(10) == 1
    batcher.close()


def test_what_comes_while_a_batch_is_computed_forms_the_next_batch() -> None:
    entered, go_on = threading.Event(), threading.Event()
    batches: list[list[int]] = []

    def infer(batch: Sequence[int]) -> list[int]:
        batches.append(list(batch))
        entered.set()
        assert go_on.wait(10)
        return [2 * request for request in batch]

    batcher: Batcher[int, int] = Batcher("double", infer, max_batch=8)
    first = batcher.submit(1, deadline_ns=1)
    assert entered.wait(10)
    others = [batcher.submit(request, deadline_ns=-request) for request in (2, 3)]
    go_on.set()
    assert [future.result(10) for future in [first, *others]] == [2, 4, 6]
    assert batches == [[1], [3, 2]]
    batcher.close()


def test_an_error_reaches_the_callers_of_its_batch_alone_and_names_the_operator() -> None:
    def infer(batch: Sequence[int]) -> list[float]:
        return [1 / request for request in batch]

    batcher: Batcher[int, float] = Batcher("inverse", infer)
    with pytest.raises(OperatorError, match=r"operator inverse: found ZeroDivisionError"):
        batcher.submit(0, deadline_ns=0).result(10)
    assert batcher.submit(2, deadline_ns=0).result(10) == 0.5
    batcher.close()


def test_too_few_results_are_an_error() -> None:
    batcher: Batcher[int, int] = Batcher("short", lambda batch: list(batch)[1:])
    with pytest.raises(OperatorError, match=r"operator short: found 0 results, expected 1"):
        batcher.submit(1, deadline_ns=0).result(10)
    batcher.close()


def test_closed_it_answers_what_is_queued_and_takes_nothing_more() -> None:
    batcher: Batcher[int, int] = Batcher("same", list)
    queued = batcher.submit(7, deadline_ns=0)
    batcher.close()
    assert queued.result(10) == 7
    with pytest.raises(OperatorError, match="closed"):
        batcher.submit(8, deadline_ns=0)
