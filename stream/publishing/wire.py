"""What goes over the wire: two frames, topic | header, line feed, payload, these two as JSON. Loads no ZeroMQ."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from stream.errors import InputError, PublishingError
from stream.prediction import SCHEMA_VERSION, Prediction
from stream.prediction import decode as decode_prediction
from stream.prediction import encode as encode_prediction

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5556"
PREDICTIONS = "prediction/"
REDACTED = "redacted/"
SESSIONS = "session/"
HEARTBEAT = "heartbeat"
LONGEST_SESSION = 128
LARGEST_FRAME = 8 << 20
"""Bytes; a prediction has about a thousand, fifteen seconds of words a few thousand."""

Counter = Annotated[int, Meta(ge=1, le=2**53)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Event = Literal["started", "stream-idle", "stream-back", "drops", "sheds", "hole", "late", "ended", "failed"]


class Position(msgspec.Struct, frozen=True, order=True):
    """A place in what a publisher says: its epoch, and the global sequence inside it (0: before the first message)."""

    publisher_epoch: Count
    global_sequence: Count


BEGINNING = Position(0, 0)
"""Before all that a publisher still has."""


class Header(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a message stands among the others of its publisher.

    `version` is that of the prediction schema. `publisher_epoch` grows at each start of a publisher (milliseconds since
    1970 at its start). `sequence` counts the messages of this topic and `global_sequence` those of all topics, from 1 and
    without a gap: what a subscriber misses shows. `published` is wall clock, RFC 3339. A redacted prediction has the
    header of the full one.
    """

    version: Counter
    publisher_epoch: Counter
    sequence: Counter
    global_sequence: Counter
    published: str

    @property
    def position(self) -> Position:
        """This message's place."""
        return Position(self.publisher_epoch, self.global_sequence)


class SessionEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that happened to a session, apart from its predictions.

    `event` is one of `Event`; later versions add more, which subscribers that do not know them pass over. `stream` names
    the stream concerned (stream-idle, stream-back, drops, late); `count` is how many packets (drops, late) or segments
    (sheds); `start_ns` and `end_ns` are the span concerned in session time; `step` is what is left out (sheds).
    `summary` is what the session counted (ended, failed); `detail` is one line for people, never words that were said.
    """

    session: str
    event: str
    detail: str | None = None
    stream: str | None = None
    count: Count | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    step: str | None = None
    summary: dict[str, Any] | None = None

    @property
    def closes(self) -> bool:
        """Whether nothing more follows from this session."""
        return self.event in ("ended", "failed")


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the publisher says every `interval_ms`, and at once to who subscribes to it.

    `sequence` counts heartbeats from 1, all parts of one with the same number (0: only for who has just subscribed, and
    not counted). `topics` holds the last sequence of each topic on which something went out since the heartbeat before;
    `more` announces another part of the same one. `replay` has, for each port published on, the one on which the ROUTER
    listens for replay requests (for ipc it is the path with `.replay` behind it). `previous` is where the epoch before
    ended, absent where the publisher has no log to know it from. `closing`: the publisher ends in order.
    """

    version: Counter
    publisher_epoch: Counter
    sequence: Count
    global_sequence: Count
    published: str
    interval_ms: Counter
    replay: dict[str, Annotated[int, Meta(ge=1, le=65_535)]] = {}
    topics: dict[str, Counter] = {}
    more: bool = False
    previous: Position | None = None
    closing: bool = False


Body = Prediction | SessionEvent


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message as received."""

    header: Header
    body: Body


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Messages that were sent and can't be had any more.

    `first` to `last` are sequences of `topic`. Without a topic they are global sequences, and nobody can say which topics
    they were of; `last` is then absent where the publisher died without a log. `reason`: gone (no longer in the
    publisher's ring), too-old (older than `max_age` when their turn came), epoch (the end of a publisher that kept no
    log), unanswered (the publisher did not answer the request for them).
    """

    publisher_epoch: int
    topic: str | None
    first: int
    last: int | None
    reason: Literal["gone", "too-old", "epoch", "unanswered"]

    @property
    def count(self) -> int | None:
        """How many messages, None where unknown."""
        return None if self.last is None else self.last - self.first + 1


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


def payload_of(body: Body) -> bytes:
    """The payload of a message, JSON."""
    return encode_prediction(body) if isinstance(body, Prediction) else msgspec.json.encode(body)


def now() -> str:
    """The present wall clock, RFC 3339 with microseconds."""
    global _second
    second, microseconds = divmod(time.time_ns() // 1_000, 1_000_000)
    if second != _second[0]:
        _second = (second, datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    return f"{_second[1]}.{microseconds:06}+00:00"


def pack(body: Body, *, publisher_epoch: int, sequence: int, global_sequence: int) -> list[bytes]:
    """The frames of one message, stamped with the present wall clock."""
    return [topic_of(body), stamped(payload_of(body), publisher_epoch, sequence, global_sequence)]


def stamped(payload: bytes, publisher_epoch: int, sequence: int, global_sequence: int) -> bytes:
    """The second frame: a header, stamped with the present wall clock, and behind a line feed the payload.

    One frame, since each costs its way through every connection and its reader's turn at the interpreter: with a hundred
    subscribers a third one was a tenth of the CPU.
    """
    header = (  # a third of the time that encoding a `Header` takes, which it decodes to
        f'{{"version":{SCHEMA_VERSION},"publisher_epoch":{publisher_epoch},"sequence":{sequence},'
        f'"global_sequence":{global_sequence},"published":"{now()}"}}\n'
    )
    return header.encode() + payload


def split(frame: bytes) -> tuple[bytes, bytes]:
    """Header and payload of a second frame, both as JSON: the first line feed ends the header, which has none of its own."""
    header, _, payload = frame.partition(b"\n")
    return header, payload


def unpack(frames: Sequence[bytes]) -> Message:
    """The message that frames hold. Raises `PublishingError` for whatever does not follow the protocol, in every frame."""
    if len(frames) != 2:
        raise PublishingError("message", found=f"{len(frames)} frames", expected="2: topic, header and payload")
    topic, (header, payload) = frames[0], split(frames[1])
    return Message(header=unpack_header(header), body=unpack_body(topic, payload))


def unpack_header(header_json: bytes) -> Header:
    """The header of a message. Raises `PublishingError`."""
    try:
        header = _header_decoder.decode(header_json)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise PublishingError("message header", found=str(error), expected="a header of the protocol") from error
    if header.version != SCHEMA_VERSION:
        raise PublishingError("message header", found=f"version {header.version}", expected=SCHEMA_VERSION)
    return header


def unpack_body(topic: bytes, payload: bytes) -> Body:
    """The payload of a message on a topic. Raises `PublishingError`, also where it is another session's."""
    try:
        kind, name = _parts(topic)
        body: Body
        if kind == SESSIONS:
            body = _event_decoder.decode(payload)
            session = body.session
        else:
            body = decode_prediction(payload)
            session = body.result.session
        if session != name:
            raise PublishingError("message", found="a topic of another session", expected="that of its payload")
    except (msgspec.DecodeError, UnicodeError, RecursionError, InputError) as error:
        raise PublishingError("message", found=str(error), expected="a payload of the protocol") from error
    return body


def unpack_heartbeat(frames: Sequence[bytes]) -> Heartbeat:
    """The heartbeat that frames hold: topic and one more. Raises `PublishingError`."""
    if len(frames) != 2 or frames[0] != HEARTBEAT.encode():
        raise PublishingError("heartbeat", found=f"{len(frames)} frames", expected=f"2: {HEARTBEAT}, JSON")
    try:
        heartbeat = _heartbeat_decoder.decode(frames[1])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise PublishingError("heartbeat", found=str(error), expected="JSON of the protocol") from error
    if heartbeat.version != SCHEMA_VERSION:
        raise PublishingError("heartbeat", found=f"version {heartbeat.version}", expected=SCHEMA_VERSION)
    return heartbeat


def redact(payload: bytes) -> bytes:
    """A prediction's payload without the words."""
    prediction = decode_prediction(payload)
    result = msgspec.structs.replace(prediction.result, transcript=None)
    return encode_prediction(msgspec.structs.replace(prediction, result=result))


@lru_cache(4_096)
def _parts(topic: bytes) -> tuple[str, str]:
    """Kind and session of a topic. Raises `PublishingError`, `InputError` and `UnicodeError`."""
    kind, slash, name = topic.decode().partition("/")
    if kind + slash not in (PREDICTIONS, REDACTED, SESSIONS):
        raise PublishingError("message topic", found=repr(topic[:40]), expected=f"{PREDICTIONS}... or {SESSIONS}...")
    return kind + slash, check_session(name)


_second = (-1, "")
"""A whole second as text, which many messages share."""
_header_decoder = msgspec.json.Decoder(Header)
_event_decoder = msgspec.json.Decoder(SessionEvent)
_heartbeat_decoder = msgspec.json.Decoder(Heartbeat)
