"""What the session engine reads from: sources that it can ask for the next packets, in virtual time."""

from __future__ import annotations

from typing import Protocol

import msgspec

from stream.errors import SourceCutError
from stream.timeline.packets import Item, Modality
from stream.timeline.time import to_seconds


class SourceStream(msgspec.Struct, frozen=True):
    """A stream that a source declares."""

    name: str
    modality: Modality


class SourceCut(msgspec.Struct, frozen=True, kw_only=True):
    """A source ended before what it declares; times are session time, `declared_ns` None where only reading failed."""

    source: str
    declared_ns: int | None
    delivered_ns: int
    reason: str

    def error(self) -> SourceCutError:
        """The error with which a command ends after it has analysed what was there."""
        declared = (
            "its declared end" if self.declared_ns is None else f"the {to_seconds(self.declared_ns):.2f} s that it declares"
        )
        return SourceCutError(
            f"source {self.source}",
            found=f"the end after {to_seconds(self.delivered_ns):.2f} s ({self.reason})",
            expected=declared,
            fix="what was there has been analysed; fetch or record it again for the rest",
        )


class ReadableSource(Protocol):
    """A source that is read on demand: a file, a recording, a given transcript, a stream off the network."""

    streams: tuple[SourceStream, ...]
    duration_ns: int | None
    """What it declares, for progress; None where it declares nothing."""

    @property
    def notices(self) -> tuple[str, ...]:
        """What a user should know, one line each; grows while it is read."""
        ...

    @property
    def dropped(self) -> dict[str, int]:
        """By stream, how many units the source itself left out (their reasons are among the notices)."""
        ...

    @property
    def position_ns(self) -> int:
        """The largest event time read."""
        ...

    @property
    def ended(self) -> bool:
        """Whether every stream has had its `StreamEnd`."""
        ...

    @property
    def cut(self) -> SourceCut | None:
        """After the end: set where the source declared more than it delivered."""
        ...

    @property
    def compressed_bytes(self) -> int:
        """Bytes of what the last `read` took, for the engine's budget."""
        ...

    def read(self) -> list[Item]:
        """The next packets and controls in reading order; empty: nothing this time. Raises `SourceError`."""
        ...

    def close(self) -> None:
        """Let go of the container; may be called twice."""
        ...
