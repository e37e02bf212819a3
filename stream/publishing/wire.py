"""What goes over the wire: three frames, topic | header | payload, the last two as JSON. Loads no ZeroMQ."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from stream.errors import InputError, PublishingError
from stream.prediction import SCHEMA_VERSION, Prediction
from stream.prediction import decode as decode_prediction
from stream.prediction import encode as encode_prediction

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5556"
PREDICTIONS = "prediction/"
SESSIONS = "session/"
LONGEST_SESSION = 128
LARGEST_FRAME = 8 << 20
"""Bytes; a prediction has about a thousand, fifteen seconds of words a few thousand."""

Counter = Annotated[int, Meta(ge=1, le=2**53)]


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Where a message stands among the others of its publisher.

    `version` is that of the prediction schema. `publisher_epoch` grows at each start of a publisher (milliseconds since
    1970 at its start). `sequence` counts the messages of this topic and `global_sequence` those of all topics, from 1 and
    without a gap: what a subscriber misses shows. `published` is wall clock, RFC 3339.
    """

    version: Counter
    publisher_epoch: Counter
    sequence: Counter
    global_sequence: Counter
    published: str


class SessionEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that happened to a session, apart from its predictions.

    `event` is started, ended or failed; later versions add more, which subscribers that do not know them pass over.
    `summary` is what the session counted (ended, failed); `detail` is one line for people.
    """

    session: str
    event: str
    detail: str | None = None
    summary: dict[str, Any] | None = None

    @property
    def closes(self) -> bool:
        """Whether nothing more follows from this session."""
        return self.event in ("ended", "failed")


Body = Prediction | SessionEvent


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message as received."""

    header: Header
    body: Body


def check_session(session: str) -> str:
    """The session's name if it can be part of a topic. Raises `InputError`."""
    if not (0 < len(session) <= LONGEST_SESSION and session.isprintable()):
        raise InputError("session name", found=repr(session), expected=f"1 to {LONGEST_SESSION} printable characters")
    return session


def topic_of(body: Body) -> bytes:
    """The topic on which a prediction or an event of its session goes out."""
    if isinstance(body, Prediction):
        return (PREDICTIONS + check_session(body.result.session)).encode()
    return (SESSIONS + check_session(body.session)).encode()


def pack(body: Body, *, publisher_epoch: int, sequence: int, global_sequence: int) -> list[bytes]:
    """The frames of one message, stamped with the present wall clock."""
    header = Header(
        version=SCHEMA_VERSION,
        publisher_epoch=publisher_epoch,
        sequence=sequence,
        global_sequence=global_sequence,
        published=datetime.now(UTC).isoformat(timespec="microseconds"),
    )
    payload = encode_prediction(body) if isinstance(body, Prediction) else msgspec.json.encode(body)
    return [topic_of(body), msgspec.json.encode(header), payload]


def unpack(frames: Sequence[bytes]) -> Message:
    """The message that frames hold. Raises `PublishingError` for whatever does not follow the protocol, in every frame."""
    if len(frames) != 3:
        raise PublishingError("message", found=f"{len(frames)} frames", expected="3: topic, header, payload")
    topic, header_json, payload = frames
    try:
        header = _header_decoder.decode(header_json)
        body: Body
        if topic.startswith(PREDICTIONS.encode()):
            body = decode_prediction(payload)
        elif topic.startswith(SESSIONS.encode()):
            body = _event_decoder.decode(payload)
        else:
            raise PublishingError("message topic", found=repr(topic[:40]), expected=f"{PREDICTIONS}... or {SESSIONS}...")
        expected_topic = topic_of(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError, InputError) as error:
        raise PublishingError("message", found=str(error), expected="a header and a payload of the protocol") from error
    if header.version != SCHEMA_VERSION:
        raise PublishingError("message header", found=f"version {header.version}", expected=SCHEMA_VERSION)
    if topic != expected_topic:
        raise PublishingError("message", found="a topic of another session", expected="that of its payload")
    return Message(header=header, body=body)


_header_decoder = msgspec.json.Decoder(Header)
_event_decoder = msgspec.json.Decoder(SessionEvent)
