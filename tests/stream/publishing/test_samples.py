"""What each released version sent is read by this one, and what this one sends has every field of theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stream.prediction import Prediction
from stream.publishing.replay import Missing, Page, Refusal, unpack_answer, unpack_request
from stream.publishing.wire import Position, SessionEvent, pack, split, unpack, unpack_heartbeat

SAMPLES = sorted((Path(__file__).parent / "samples").glob("*.json"))
EPOCH = 1795530027313


@pytest.fixture(params=SAMPLES, ids=lambda path: path.stem)
def sample(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(json.loads(request.param.read_text()))


def frames(texts: list[str]) -> list[bytes]:
    return [text.encode() for text in texts]


def test_there_are_samples() -> None:
    assert SAMPLES


def has_fields_of(new: Any, old: Any) -> bool:
    if isinstance(old, dict):
        return all(name in new and has_fields_of(new[name], value) for name, value in old.items())
    return type(new) is type(old)


@pytest.mark.parametrize("kind", ["prediction", "event"])
def test_messages(sample: dict[str, Any], kind: str) -> None:
    message = unpack(frames(sample[kind]))
    assert message.header.position.publisher_epoch == EPOCH
    if isinstance(message.body, Prediction):
        assert message.body.result.sentiment is not None
        assert message.body.result.sentiment.value == 1.25
    else:
        drops = SessionEvent(session="s1", event="drops", stream="camera", count=3, start_ns=5, detail="behind")
        assert message.body == drops
    now = pack(message.body, publisher_epoch=EPOCH, sequence=1, global_sequence=1)
    assert now[0].decode() == sample[kind][0]
    for new, old in zip(split(now[1]), split(sample[kind][1].encode()), strict=True):
        assert has_fields_of(json.loads(new), json.loads(old))


def test_the_heartbeat(sample: dict[str, Any]) -> None:
    heartbeat = unpack_heartbeat(frames(sample["heartbeat"]))
    assert (heartbeat.topics, heartbeat.replay) == ({"prediction/s1": 3}, {"5556": 5557})
    assert heartbeat.previous == Position(1795530000000, 7)
    assert has_fields_of(json.loads(msgspec.json.encode(heartbeat)), json.loads(sample["heartbeat"][1]))


def test_a_request_and_its_answers(sample: dict[str, Any]) -> None:
    assert unpack_request(sample["request"].encode()).until == Position(EPOCH, 9)
    page, messages = unpack_answer([sample["page"].encode(), *frames(sample["prediction"])])
    assert isinstance(page, Page)
    missing = Missing(publisher_epoch=EPOCH, topic="prediction/s1", first=1, last=2, why="superseded")
    assert page.missing == (missing,)
    assert len(messages) == 1
    assert unpack_answer([sample["refusal"].encode()])[0] == Refusal(request=7, refused="denied")
