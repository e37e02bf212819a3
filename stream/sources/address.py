"""Where a source is: what a user wrote, told apart by kind, and what may be shown of it."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from stream.errors import SourceError

_OTHER_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+[:,]")
_EXPECTED = "a path, http(s)://, rtsp://, udp:// or -"
_LONGEST_SHOWN = 200
"""Characters of a path that messages show."""


class Kind(StrEnum):
    """Kinds of source, by what may be opened for them."""

    FILE = "file"
    STDIN = "standard input"
    HTTP = "http"
    RTSP = "rtsp"
    UDP = "udp"


_SCHEMES = {"http": Kind.HTTP, "https": Kind.HTTP, "rtsp": Kind.RTSP, "udp": Kind.UDP}


class Address(NamedTuple):
    """Where a source is: `url` for FFmpeg alone, `shown` (without what may be a secret) for everyone else."""

    kind: Kind
    url: str
    shown: str

    @classmethod
    def of(cls, url: str) -> Address:
        """The address in what a user wrote. Raises `SourceError` for protocols that the door does not have."""
        if not url:
            raise SourceError("source", found="an empty name", expected=_EXPECTED)
        if url == "-":
            return cls(Kind.STDIN, "pipe:0", "standard input")
        scheme, separator, _ = url.partition("://")
        kind = _SCHEMES.get(scheme.lower()) if separator else None
        if kind:
            return cls(kind, url, _without_secrets(url))
        path = Path(url)
        if _OTHER_SCHEME.match(url) and not os.path.exists(url):
            protocol = re.split(r"[:,]", url, maxsplit=1)[0]
            raise SourceError("source", found=f"protocol {protocol}", expected=_EXPECTED)
        # "file:" keeps FFmpeg from reading a protocol out of a file's name.
        return cls(Kind.FILE, f"file:{path.absolute()}", url if len(url) <= _LONGEST_SHOWN else f"...{url[-_LONGEST_SHOWN:]}")

    @property
    def path(self) -> Path:
        """The file's path (files only)."""
        return Path(self.url.removeprefix("file:"))


def _without_secrets(url: str) -> str:
    """A URL without user, password and query, where tokens travel. Raises `SourceError` where it is none."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - looked at for what it raises
    except ValueError:  # it quotes what may be a secret
        raise SourceError("source", found="a URL that can't be read", expected="scheme://host:port/path") from None
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" + ("?..." if parts.query else "")
