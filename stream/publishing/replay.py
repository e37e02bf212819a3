"""What a subscriber asks the ROUTER for, and what it answers: pages of messages, and what became of those that are missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from stream.errors import PublishingError
from stream.publishing.wire import Count, Counter, Position

LARGEST_REQUEST = 4_096
"""Bytes."""
MOST_PREFIXES = 32
PAGE_MESSAGES = 512
"""Messages of one answer; the subscriber asks for the next page."""
PAGE_BYTES = 1 << 20
"""Payload after which a page is full."""

PAGE_PLACES = 4_096
"""Places of the ring that are looked at for one answer, half a millisecond; a page with nothing in it and `more` is one too."""

Why = Literal["superseded", "gone"]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """All after one position and up to another (None: all there is), on topics that begin with one of the prefixes.

    `request` comes back in the answer. `latest`: only the newest message of each topic up to there, of those topics on
    which something went out last; one page.
    """

    request: Count
    after: Position
    until: Position | None = None
    latest: bool = False
    prefixes: Annotated[tuple[Annotated[str, Meta(max_length=256)], ...], Meta(min_length=1, max_length=MOST_PREFIXES)]


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """Sequences of a topic that are not in the page: superseded by a newer revision of the segment, or gone."""

    publisher_epoch: Counter
    topic: str
    first: Counter
    last: Counter
    why: Why


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """The first frame of an answer; after it come the messages, two frames each, in order of position.

    `upto` is the position that the page covers; `more`: ask again from there. `lost`: the publisher can't say what there
    was between `after` and its own beginning, since its log or its ring does not reach back to that epoch.
    """

    request: Count
    upto: Position
    more: bool = False
    lost: bool = False
    missing: tuple[Missing, ...] = ()


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """An answer without a page. denied: the key may not read that; later: too many requests, ask again in a second."""

    request: Count
    refused: Literal["denied", "later"]


def unpack_request(frame: bytes) -> Request:
    """Raises `PublishingError`."""
    try:
        return _request_decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise PublishingError("replay request", found=str(error), expected="JSON of the protocol") from error


def unpack_answer(frames: Sequence[bytes]) -> tuple[Page | Refusal, list[list[bytes]]]:
    """The page and its messages' frames. Raises `PublishingError`."""
    if len(frames) % 2 != 1 or len(frames) > 1 + 2 * PAGE_MESSAGES:
        raise PublishingError("answer to a replay request", found=f"{len(frames)} frames", expected="a page and messages")
    try:
        answer = _answer_decoder.decode(frames[0]) if b'"refused"' not in frames[0][:80] else _refusal_decoder.decode(frames[0])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise PublishingError("answer to a replay request", found=str(error), expected="JSON of the protocol") from error
    return answer, [list(frames[i : i + 2]) for i in range(1, len(frames), 2)]


_request_decoder = msgspec.json.Decoder(Request)
_answer_decoder = msgspec.json.Decoder(Page)
_refusal_decoder = msgspec.json.Decoder(Refusal)
