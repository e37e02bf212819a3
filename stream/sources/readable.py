"""What the session engine reads from: sources that it can ask for the next packets, in virtual time."""

from __future__ import annotations

from typing import Protocol

import msgspec

from stream.timeline.packets import Item, Modality


class SourceStream(msgspec.Struct, frozen=True):
    """A stream that a source declares."""

    name: str
    modality: Modality


class ReadableSource(Protocol):
    """A source that is read on demand: a file, a recording, a given transcript, a stream off the network."""

    streams: tuple[SourceStream, ...]
    duration_ns: int | None
    """What it declares, for progress; None where it declares nothing."""
    notices: tuple[str, ...]
    """What a user should know, one line each; at the end more than at the start."""
    dropped: dict[str, int]
    """By stream, how many packets the source itself left out; the notices give the reasons."""
    position_ns: int
    """The largest event time read."""
    ended: bool
    """Whether every stream has had its `StreamEnd`."""
    cut: str | None
    """After the end, one line where the source declared more than it delivered, could not be read to its end, or held
    packets that could not be decoded."""
    compressed_bytes: int
    """Bytes of what the last `read` took, for the engine's budget."""

    def read(self) -> list[Item]:
        """The next packets and controls in reading order; empty: nothing this time. Raises `SourceError`."""
        ...

    def close(self) -> None:
        """Let go of what is held; may be called twice."""
        ...
