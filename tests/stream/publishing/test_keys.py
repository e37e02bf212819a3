from __future__ import annotations

import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.errors import EndpointError, InputError, PublishingError
from stream.prediction import Prediction, Result, Transcript
from stream.publishing.accounts import PeerLimits
from stream.publishing.keys import Authorised, PublicKey, SecretKey, new_key, public_key, secret_key
from stream.publishing.publisher import Publisher
from stream.publishing.subscriber import Subscriber
from stream.publishing.topics import may_read
from stream.publishing.wire import Gap, SessionEvent

PATIENCE_S = 20.0


def prediction(number: int) -> Prediction:
    said = Transcript(text="a secret", origin="given")
    fields = {"kind": "window", "start_ns": number, "end_ns": number + 1, "revision": 1, "status": "final", "reason": "window"}
    return Prediction(result=Result(session="s", transcript=said, **fields))


class Guarded:
    """A publisher that asks for keys; alice may read all, bob what has no words, mallory has a key that it does not know."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, read in (("publisher", "full"), ("alice", "full"), ("bob", "redacted"), ("mallory", "full")):
            new_key(name, folder, read)
        self.authorised = folder / "authorised"
        self.authorised.mkdir()
        for name in ("alice", "bob"):
            shutil.copy(folder / f"{name}.pub", self.authorised)
        self.publisher = Publisher(
            "tcp://127.0.0.1:*", key=secret_key(folder / "publisher.key"), authorised=Authorised(self.authorised)
        )

    def subscriber(self, name: str | None, *, redacted: bool = False, server: str = "publisher") -> Subscriber:
        key: tuple[SecretKey, PublicKey] | tuple[None, None] = (None, None)
        if name is not None:
            key = secret_key(self.folder / f"{name}.key"), public_key(self.folder / f"{server}.pub")
        return Subscriber(
            self.publisher.endpoint, "s", PATIENCE_S, until_ended=True, redacted=redacted, key=key[0], publisher_key=key[1]
        )


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    guarded = Guarded(tmp_path)
    with guarded.publisher:
        yield guarded


def test_an_authorised_key_reads_everything(guarded: Guarded) -> None:
    guarded.publisher.publish(prediction(1))
    guarded.publisher.publish(SessionEvent(session="s", event="ended"))
    with guarded.subscriber("alice") as subscriber:
        assert list(subscriber) == [prediction(1)]


def test_a_redacted_key_reads_no_words_and_nothing_more_by_asking(guarded: Guarded) -> None:
    guarded.publisher.publish(prediction(1))
    with guarded.subscriber("bob", redacted=True) as subscriber:
        first = next(iter(subscriber))
    assert not isinstance(first, Gap)
    assert (first.result.start_ns, first.result.transcript) == (1, None)
    with guarded.subscriber("bob") as subscriber, pytest.raises(PublishingError, match="this key may not read that"):
        next(iter(subscriber))


@pytest.mark.parametrize(
    ("name", "told"), [("mallory", "refuses this subscriber's key.* NAME.pub"), (None, "asks for a key|if it asks for keys")]
)
def test_a_wrong_key_and_a_missing_one_do_not_get_in(guarded: Guarded, name: str | None, told: str) -> None:
    guarded.publisher.publish(prediction(1))
    with guarded.subscriber(name) as subscriber, pytest.raises(PublishingError, match=told):
        next(iter(subscriber))


def test_a_publisher_that_has_not_the_key_expected_of_it_is_not_listened_to(guarded: Guarded) -> None:
    guarded.publisher.publish(prediction(1))
    with guarded.subscriber("alice", server="mallory") as subscriber:
        with pytest.raises(PublishingError, match=r"without a word.* the key given for it .* own key it has not looked at"):
            next(iter(subscriber))
        assert subscriber.position is None  # not so much as a heartbeat came
    with guarded.subscriber("alice") as rightly:
        assert next(iter(rightly)) == prediction(1)


def test_keys_for_a_publisher_that_asks_for_none_are_too_many(guarded: Guarded) -> None:
    alice, publisher = secret_key(guarded.folder / "alice.key"), public_key(guarded.folder / "publisher.pub")
    with (
        Publisher("tcp://127.0.0.1:*") as open_one,
        Subscriber(open_one.endpoint, timeout=PATIENCE_S, key=alice, publisher_key=publisher) as subscriber,
        pytest.raises(PublishingError, match="asks for no key"),
    ):
        next(iter(subscriber))


def test_a_key_that_is_revoked_loses_the_connection_it_has(guarded: Guarded) -> None:
    guarded.publisher.publish(prediction(1))
    with guarded.subscriber("alice") as revoked, guarded.subscriber("bob", redacted=True) as other:
        items, others = iter(revoked), iter(other)
        assert next(items) == prediction(1)
        assert not isinstance(next(others), Gap)
        (guarded.authorised / "alice.pub").unlink()
        with pytest.raises(PublishingError, match="refuses this subscriber's key"):
            next(items)
        guarded.publisher.publish(prediction(2))
        follows = next(others)
        assert not isinstance(follows, Gap)
        assert follows.result.start_ns == 2


def test_a_key_that_is_added_gets_in_without_a_restart(guarded: Guarded) -> None:
    guarded.publisher.publish(prediction(1))
    shutil.copy(guarded.folder / "mallory.pub", guarded.authorised)
    guarded.publisher._outbound._access.reload()
    with guarded.subscriber("mallory") as subscriber:
        assert next(iter(subscriber)) == prediction(1)


def test_who_subscribes_to_too_much_is_disconnected() -> None:
    with Publisher("tcp://127.0.0.1:*") as publisher, zmq.Context() as context, context.socket(zmq.SUB) as greedy:
        greedy.linger = 0
        monitor = greedy.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        for number in range(PeerLimits().subscriptions + 1):
            greedy.subscribe(f"session/{number}")
        greedy.connect(publisher.endpoint)
        assert monitor.poll(1_000 * PATIENCE_S)
        greedy.disable_monitor()
        monitor.close()


@pytest.mark.parametrize("endpoint", ["tcp://0.0.0.0:*", "tcp://[::]:*"])
def test_beyond_this_machine_keys_are_needed_or_insecure_said(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(EndpointError, match="needs keys"):
        Publisher(endpoint)
    if endpoint.startswith("tcp://0"):
        with Publisher(endpoint, insecure=True):
            pass


def test_every_socket_that_binds_does_so_at_the_one_door() -> None:
    root = Path(__file__).parents[3]
    files = [path for part in ("stream", "operators", "deploy") for path in (root / part).rglob("*.py")]
    binds = {str(path.relative_to(root)) for path in files if re.search(r"\.bind(_to_random_port)?\(", path.read_text())}
    # Questions about keys, inside the process; what is measured beside our own, on loopback.
    assert binds == {"stream/publishing/endpoint.py", "stream/publishing/peers.py"} | {
        "deploy/bench/publish.py",
        "deploy/bench/publish_side.py",
    }


def test_a_secret_key_is_its_owners_alone(tmp_path: Path) -> None:
    secret, public = new_key("alice", tmp_path)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret_key(secret).public == public_key(public).public
    assert secret_key(secret).secret not in repr(secret_key(secret))
    secret.chmod(0o644)
    with pytest.raises(InputError, match="others may read it"):
        secret_key(secret)
    with pytest.raises(InputError, match="a file that is there"):
        new_key("alice", tmp_path)


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_that_is_no_key_authorises_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pub").write_bytes(content)
    authorised = Authorised(tmp_path)
    assert authorised.read_of("") is None
    assert "x.pub" in authorised.refused


@given(st.text(max_size=12).map(str.encode) | st.sampled_from([b"", b"p", b"prediction/s", b"redacted", b"s"]))
@settings(deadline=None)
def test_a_redacted_key_may_not_subscribe_to_a_prefix_of_what_has_words(prefix: bytes) -> None:
    if may_read("redacted", prefix):
        assert not b"prediction/".startswith(prefix)
        assert not prefix.startswith(b"prediction/")
    assert not may_read(None, prefix)
