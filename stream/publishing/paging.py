"""Answers to replay requests: pages of what the ring has, under the names that were asked for. Pure."""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice

import msgspec

from stream.publishing.replay import PAGE_MESSAGES, Missing, Page, Request
from stream.publishing.ring import Ring
from stream.publishing.topics import meet, redacted
from stream.publishing.wire import PREDICTIONS, REDACTED

_PREDICTIONS, _REDACTED = PREDICTIONS.encode(), REDACTED.encode()


def page_of(request: Request, prefixes: tuple[bytes, ...], ring: Ring, last: OrderedDict[bytes, list[bytes]]) -> list[bytes]:
    """The frames of a page: JSON, then two of each message. `last`: the newest message of each topic, the newest behind."""
    full = tuple(prefix for prefix in prefixes if not meet(prefix, _REDACTED) or not prefix)
    inner = tuple(_PREDICTIONS + prefix[len(_REDACTED) :] if prefix.startswith(_REDACTED) else prefix for prefix in prefixes)

    def outside(frames: list[bytes]) -> list[bytes]:
        return frames if frames[0].startswith(full) else redacted(frames)

    def outside_name(missing: Missing) -> Missing:
        if missing.topic.encode().startswith(full):
            return missing
        return msgspec.structs.replace(missing, topic=REDACTED + missing.topic[len(PREDICTIONS) :])

    if request.latest:
        found = list(islice((f for topic, f in reversed(last.items()) if topic.startswith(inner)), PAGE_MESSAGES))
        page = Page(request=request.request, upto=ring.end or request.after)
        return [msgspec.json.encode(page), *(frame for frames in reversed(found) for frame in outside(frames))]
    selection = ring.select(request.after, request.until, inner)
    page = Page(
        request=request.request,
        upto=selection.upto,
        more=selection.more,
        lost=selection.lost,
        missing=tuple(map(outside_name, selection.missing)),
    )
    return [msgspec.json.encode(page), *(frame for frames in selection.entries for frame in outside(frames))]
