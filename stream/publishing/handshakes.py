"""Connections that a publisher does not let begin: what ZeroMQ tells a subscriber of why, and what it can't tell apart."""

from __future__ import annotations

import zmq

from stream.errors import PublishingError

FAILED = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
ATTEMPTS = 5
"""Failures in a row after which one that says nothing of why is told; a publisher that starts or ends just then has fewer."""


def refusal(endpoint: str, kind: int, value: int, failures: int, *, keys: bool) -> PublishingError | None:
    """Why there will be no connection, None while it may yet come. `keys`: this side has some; the rest is the monitor's.

    A publisher that does not know the subscriber's key says so. One whose own key is not the expected one can't read what
    it is sent, and closes without a word; so does any other program, and so may a publisher of which one side alone asks
    for keys.
    """
    publisher = f"publisher on {endpoint}"
    if kind == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return PublishingError(
            publisher,
            found="it refuses this subscriber's key",
            expected="a key in its folder of authorised keys",
            fix="give its owner NAME.pub of this key (affectstream keys new NAME makes one)",
        )
    if kind == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL and value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
        if keys:
            return PublishingError(publisher, found="it asks for no key", expected="one that does", fix="leave the keys out")
        return PublishingError(
            publisher,
            found="it asks for a key",
            expected="--key and --publisher-key",
            fix="affectstream keys new NAME makes one, and its owner has the publisher's",
        )
    if failures < ATTEMPTS:
        return None
    if keys:
        return PublishingError(
            publisher,
            found=f"it closed {failures} connections without a word",
            expected="the publisher whose public key was given, which asks for keys",
            fix="if the key given for it is an old or another one, get the present NAME.pub of its --key from its owner; if it "
            "asks for no keys, leave both out; this subscriber's own key it has not looked at",
        )
    return PublishingError(
        publisher,
        found=f"it closed {failures} connections without a word",
        expected="a publisher that asks for no key",
        fix="if it asks for keys, give --key and --publisher-key; if not, another program listens there",
    )
