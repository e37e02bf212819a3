"""Live sources: what comes when it comes, stamped by the clock of whoever captured it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import msgspec

from stream.errors import SourceError
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


class ReconnectSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a network stream that has ended is opened again."""

    first_s: float = 0.5
    """Wait before the first attempt; twice as long before each further one."""
    longest_s: float = 5.0
    """Longest wait between two attempts: a viewer's patience."""
    give_up_s: float = 30.0
    """After so long the stream has ended for good: a camera starts anew in less."""


class LiveContainer:
    """A container as a live source: a network stream, or with `pace` a file as if it were one.

    One clock stamps all its tracks; without a `clock` they are stamped in session time. With `reopen`, what has ended is
    opened again: its streams then begin a new source epoch.

    `sleep` and `now_s` are what `pace` waits with and looks at.
    """

    def __init__(
        self,
        source: ReadableSource,
        *,
        clock: str | None = "container",
        pace: bool = False,
        reopen: Callable[[], ReadableSource] | None = None,
        reconnect: ReconnectSettings = ReconnectSettings(),  # noqa: B008 - immutable
        sleep: Callable[[float], None] = time.sleep,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.live_streams = tuple(LiveStream(name=s.name, modality=s.modality, device=clock) for s in source.streams)
        self._source = source
        self._sequences: Counter[str] = Counter()
        self._pace = pace
        self._reopen = reopen
        self._reconnect = reconnect
        self._closed = False
        self._sleep = sleep
        self._now_s = now_s
        self._begun_s: float | None = None

    def read(self) -> list[Capture] | None:
        """The next packets of the container, when they come."""
        if self._source.ended and not self._reconnected():
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
        self._closed = True
        self._source.close()

    def _reconnected(self) -> bool:
        """Opens the container again, as often as it takes; False once that has lasted too long."""
        if self._reopen is None:
            return False
        self._source.close()
        wait_s, lost_s = self._reconnect.first_s, self._now_s()
        while not self._closed and self._now_s() - lost_s < self._reconnect.give_up_s:
            self._sleep(wait_s)
            wait_s = min(2 * wait_s, self._reconnect.longest_s)
            try:
                source = self._reopen()
            except SourceError:
                continue  # not there yet: what is said of it at last is that it has ended
            if {s.name for s in source.streams} <= {s.name for s in self.live_streams}:
                self._source = source
                return True
            source.close()
        return False

    def _wait_until(self, position_ns: int) -> None:
        if self._begun_s is None:
            self._begun_s = self._now_s()
        self._sleep(max(0.0, self._begun_s + position_ns / NS_PER_SECOND - self._now_s()))
