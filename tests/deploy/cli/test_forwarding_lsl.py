"""`affectstream subscribe --lsl`, seen by an inlet of Lab Streaming Layer."""

from __future__ import annotations

import math
import sys
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from cli_fakes import prediction

from deploy.cli.forwarding import CHANNELS, EMOTIONS, Lsl
from stream.errors import MissingExtraError
from stream.publishing.publisher import Publisher
from stream.publishing.wire import SessionEvent

FOUND_WITHIN_S = 5.0
PATIENCE_S = 20.0
LABELS = CHANNELS + EMOTIONS


@pytest.fixture(scope="module")
def pylsl() -> Any:
    """The library, where it is there and finds an outlet of its own: it looks by multicast, which not every machine has."""
    try:
        import pylsl
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"no Lab Streaming Layer: {error}")
    own = uuid.uuid4().hex
    outlet = pylsl.StreamOutlet(pylsl.StreamInfo("probe", "Probe", 1, pylsl.IRREGULAR_RATE, pylsl.cf_float32, own))
    if not pylsl.resolve_byprop("source_id", own, timeout=FOUND_WITHIN_S):
        pytest.skip(f"liblsl does not find its own outlet on this machine within {FOUND_WITHIN_S:g} s")
    del outlet
    return pylsl


def test_an_inlet_sees_the_session_and_its_numbers(affectstream: Callable[..., Any], pylsl: Any) -> None:
    session = uuid.uuid4().hex
    seen: dict[str, Any] = {}

    def look(publisher: Publisher) -> None:
        try:
            assert publisher.wait_for_subscriber(PATIENCE_S)
            publisher.publish(prediction(0, 1, 2.0, "a", session=session))  # the session's first opens its outlet
            (info,) = pylsl.resolve_byprop("source_id", session, timeout=PATIENCE_S)
            inlet = pylsl.StreamInlet(info, recover=False)
            full = inlet.info(PATIENCE_S)
            inlet.open_stream(PATIENCE_S)
            publisher.publish(prediction(1, 2, 2.5, "b", session=session, status="provisional"))
            publisher.publish(prediction(2, 3, 1.5, "c", session=session))
            publisher.publish(prediction(3, 4, None, session=session, kind="silence"))
            seen["samples"] = [inlet.pull_sample(PATIENCE_S)[0] for _ in range(2)]
            seen["info"] = (full.name(), full.type(), full.nominal_srate())
            channel, seen["labels"] = full.desc().child("channels").first_child(), []
            while not channel.empty():
                seen["labels"].append(channel.child_value("label"))
                channel = channel.next_sibling()
        finally:
            publisher.publish(SessionEvent(session=session, event="ended"))

    with Publisher("tcp://127.0.0.1:*") as publisher:
        looking = threading.Thread(target=look, args=(publisher,))
        looking.start()
        outcome = affectstream("subscribe", publisher.endpoint, "--lsl", "--until-ended", "--session", session)
        looking.join(PATIENCE_S)
    assert outcome.code == 0
    assert seen["info"] == (f"affectstream {session}", "Affect", pylsl.IRREGULAR_RATE)
    assert seen["labels"] == list(LABELS)
    final, silence = seen["samples"]
    there = {"sentiment": 1.5, "valence": 0.5, "arousal": -0.31, "neutral": 0.36, "joy": 0.64}
    assert {name: value for name, value in zip(LABELS, final, strict=True) if not math.isnan(value)} == pytest.approx(there)
    assert [name for name, value in zip(LABELS, silence, strict=True) if not math.isnan(value)] == []


@pytest.mark.parametrize("command", [False, True])
def test_without_the_library_the_extra_is_named(
    affectstream: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, command: bool
) -> None:
    monkeypatch.setitem(sys.modules, "pylsl", None)
    if not command:
        with pytest.raises(MissingExtraError, match=r"affectstream\[lsl\]"):
            Lsl()
        return
    outcome = affectstream("subscribe", "tcp://127.0.0.1:1", "--lsl")
    assert outcome.code != 0
    assert "affectstream[lsl]" in outcome.err
