"""What the commands say of keys, addresses and the log, from one end to the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import FakeInline

from stream.prediction import Prediction
from stream.publishing.keys import public_key, secret_key
from stream.publishing.publisher import Publisher
from stream.publishing.subscriber import Subscriber

Run = Callable[..., Any]
PATIENCE_S = 20.0


@pytest.fixture
def keys(affectstream: Run, tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    made = affectstream("keys", "new", "publisher", "--folder", str(folder))
    assert made.out.splitlines() == [str(folder / "publisher.key"), str(folder / "publisher.pub")]
    assert affectstream("keys", "new", "alice", "--folder", str(folder), "--read", "redacted").code == 0
    (folder / "authorised").mkdir()
    (folder / "alice.pub").rename(folder / "authorised" / "alice.pub")
    return folder


def test_two_addresses_with_keys_and_a_log_bring_the_same_to_who_may_read_it(
    affectstream: Run, inline: FakeInline, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: dict[str, list[Any]] = {}
    threads: list[threading.Thread] = []
    make = Publisher.__init__

    def follow(endpoint: str) -> None:
        with Subscriber(
            endpoint,
            "s",
            PATIENCE_S,
            until_ended=True,
            redacted=True,
            key=secret_key(keys / "alice.key"),
            publisher_key=public_key(keys / "publisher.pub"),
        ) as subscriber:
            received[endpoint] = list(subscriber)

    def made(publisher: Publisher, endpoint: list[str], **options: Any) -> None:
        make(publisher, endpoint, **options)
        for one in publisher.endpoints:
            publisher._outbound.subscribed.clear()
            threads.append(threading.Thread(target=follow, args=(one,)))
            threads[-1].start()
            assert publisher.wait_for_subscriber(PATIENCE_S)

    monkeypatch.setattr(Publisher, "__init__", made)
    outcome = affectstream(
        *("analyze", "clip.mp4", "--session", "s", "--log", str(tmp_path / "log")),
        *("--publish", "tcp://127.0.0.1:*", "--publish", f"ipc://{tmp_path}/socket"),
        *("--key", str(keys / "publisher.key"), "--authorised", str(keys / "authorised")),
    )
    for thread in threads:
        thread.join(PATIENCE_S)
    assert (outcome.code, outcome.err) == (0, "")
    first, second = received.values()
    assert [p.result.start_ns for p in first] == [p.result.start_ns for p in inline.steps if isinstance(p, Prediction)]
    assert first == second
    assert {p.result.transcript for p in first} == {None}
    assert sorted(path.name for path in (tmp_path / "log").iterdir()) == ["00000001.log", "lock"]


@pytest.mark.parametrize("with_keys", [False, True])
def test_insecure_warns_where_nobody_needs_a_key(affectstream: Run, inline: FakeInline, keys: Path, with_keys: bool) -> None:
    more = ("--key", str(keys / "publisher.key"), "--authorised", str(keys / "authorised")) if with_keys else ()
    outcome = affectstream("analyze", "clip.mp4", "--publish", "tcp://0.0.0.0:*", "--insecure", *more)
    assert outcome.code == 0
    assert outcome.err == ("" if with_keys else "--insecure: whoever reaches these addresses reads all that is published\n")


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--key", "publisher.key"), "found one of two"),
        (("--key", "alice.pub", "--authorised", "authorised"), "a file that `affectstream keys new` made"),
        (("--key", "publisher.key", "--authorised", "none"), "no such folder"),
        ((), "needs keys"),
    ],
)
def test_keys_that_do_not_fit_are_one_line(
    affectstream: Run, inline: FakeInline, keys: Path, option: tuple[str, ...], told: str
) -> None:
    given = [one if one.startswith("--") else str(keys / one) for one in option]
    outcome = affectstream("analyze", "clip.mp4", "--publish", "tcp://0.0.0.0:*", *given)
    assert outcome.code == 2
    assert told in outcome.err
    assert outcome.err.count("\n") == 1
    assert inline.asked == []


def test_a_file_among_the_keys_that_is_none_is_told_and_lets_nobody_in(
    affectstream: Run, inline: FakeInline, keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (keys / "authorised" / "broken.pub").write_text('{"name": "eve"')
    given = ("--key", str(keys / "publisher.key"), "--authorised", str(keys / "authorised"))
    outcome = affectstream("analyze", "clip.mp4", "--publish", "tcp://127.0.0.1:*", *given)
    assert outcome.code == 0
    assert ["broken.pub" in record.getMessage() for record in caplog.records] == [True]


def test_a_subscriber_with_one_key_of_two_is_told(affectstream: Run, keys: Path) -> None:
    outcome = affectstream("subscribe", "tcp://127.0.0.1:1", "--key", str(keys / "alice.key"))
    assert outcome.code == 2
    assert "found one of two" in outcome.err
