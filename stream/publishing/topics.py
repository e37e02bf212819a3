"""Topics: which a prefix meets, which a key may read, and what goes out on a redacted one. Pure."""

from __future__ import annotations

from stream.publishing.keys import Read
from stream.publishing.wire import HEARTBEAT, PREDICTIONS, REDACTED, SESSIONS, redact, split

_REDACTED = REDACTED.encode()
_READ_BY_ALL = tuple(name.encode() for name in (REDACTED, SESSIONS, HEARTBEAT))


def may_read(read: Read | None, prefix: bytes) -> bool:
    """Whether all that begins with the prefix may be read: a short one reaches further than a long one."""
    if read == "redacted":
        return prefix.startswith(_READ_BY_ALL)
    return read == "full"


def meet(prefix: bytes, name: bytes) -> bool:
    """Whether some topic begins with both."""
    return prefix.startswith(name) or name.startswith(prefix)


def redacted(frames: list[bytes]) -> list[bytes]:
    """The message of a prediction as it goes out on its redacted topic: without words."""
    header, payload = split(frames[1])
    return [_REDACTED + frames[0][len(PREDICTIONS) :], header + b"\n" + redact(payload)]
