"""Live sources: what comes when it comes, stamped by the clock of whoever captured it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import msgspec

from stream.sources.readable import ReadableSource
from stream.timeline.live import LiveStream
from stream.timeline.packets import AudioChunk, EpochStart, Packet, StreamEnd, VideoFrame, Word
from stream.timeline.time import NS_PER_SECOND


class Captured(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A packet as captured: its times are its device's (or the session's, where its stream has no device).

    `sequence` counts what was captured of its stream from 0, whatever became of it.
    """

    packet: Packet
    sequence: int

    @property
    def stream(self) -> str:
        """The stream's name."""
        return self.packet.stream


class Disconnected(msgspec.Struct, frozen=True, kw_only=True):
    """`stream` gives nothing more, or what follows was captured after a new start of its clock."""

    stream: str


Capture = Captured | Disconnected


class LiveSource(Protocol):
    """A source that nobody can make wait: what is not taken in time is lost."""

    live_streams: tuple[LiveStream, ...]

    def read(self) -> list[Capture] | None:
        """What has come, as soon as something has; None at the end. Called by one thread. Raises `SourceError`."""
        ...

    def close(self) -> None:
        """Lets go of what is held and of a `read` that waits; may be called twice, from any thread."""
        ...


class LiveContainer:
    """A container as a live source: a network stream, or with `pace` a file as if it were one.

    One clock stamps all its tracks; without a `clock` they are stamped in session time.

    `sleep` and `now_s` are what `pace` waits with and looks at.
    """

    def __init__(
        self,
        source: ReadableSource,
        *,
        clock: str | None = "container",
        pace: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.live_streams = tuple(LiveStream(name=s.name, modality=s.modality, device=clock) for s in source.streams)
        self._source = source
        self._sequences: Counter[str] = Counter()
        self._pace = pace
        self._sleep = sleep
        self._now_s = now_s
        self._begun_s: float | None = None

    def read(self) -> list[Capture] | None:
        """The next packets of the container, when they come."""
        if self._source.ended:
            return None
        captured: list[Capture] = []
        for item in self._source.read():
            if isinstance(item, VideoFrame | AudioChunk | Word):
                captured.append(Captured(packet=item, sequence=self._sequences[item.stream]))
                self._sequences[item.stream] += 1
            elif isinstance(item, EpochStart):
                captured += [Disconnected(stream=name) for name in item.streams]
            elif isinstance(item, StreamEnd):
                captured.append(Disconnected(stream=item.stream))
        if self._pace:
            self._wait_until(self._source.position_ns)
        return captured

    def close(self) -> None:
        """Closes the container."""
        self._source.close()

    def _wait_until(self, position_ns: int) -> None:
        if self._begun_s is None:
            self._begun_s = self._now_s()
        self._sleep(max(0.0, self._begun_s + position_ns / NS_PER_SECOND - self._now_s()))
