"""Calls of a stream operator on a group of items: what it gives for each, completed together, errors in their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from operators.interface import CompletingOperator, StreamOperator
from stream.timeline.packets import Bound, EpochStart, Item, Packet, StreamEnd


def call_all(operator: StreamOperator, items: Sequence[Item]) -> list[list[Item] | Exception]:
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
        return list(operator.reset(item.epoch, item.at_ns))
    if isinstance(item, StreamEnd):
        return list(operator.finish(item.at_ns))
    return []
