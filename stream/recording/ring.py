"""The newest stretch of a live session, bounded in bytes and in time, so that it can be kept after the fact."""

from __future__ import annotations

import os
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec
import numpy as np

from stream.errors import SettingsError
from stream.recording.entries import Arrived, CaughtUp, Entry, Shed, Sounds, decode_entries, encode_entries
from stream.recording.messages import Batch
from stream.recording.schemas import DOOR, RECONNECTED, MediaHead, RecordedMessage, RecordingEnd, RecordingHead
from stream.recording.writer import RecordingWriter
from stream.timeline.packets import EpochStart, Packet, StreamActive, StreamEnd, StreamIdle
from stream.timeline.time import NS_PER_SECOND


class RingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a live session is kept for later."""

    span_ns: int = 600 * NS_PER_SECOND
    """Session time: ten minutes are enough to say "keep that" after something has happened."""
    max_bytes: int = 256 << 20
    """Ten minutes of a camera at 2 Mbit/s, with its sound and faces, have 200 MB."""
    store: Literal["memory", "disk"] = "memory"
    """Disk where memory is dear: then nothing but an index stays in memory."""

    def __post_init__(self) -> None:
        for name in ("span_ns", "max_bytes"):
            if getattr(self, name) <= 0:
                raise SettingsError(f"setting {name}", found=getattr(self, name), expected="a positive number")


class BatchStore(Protocol):
    """Where a ring keeps its batches, oldest first."""

    def append(self, content: bytes) -> None:
        """Keeps one more."""
        ...

    def pop(self) -> bytes:
        """Gives the oldest back, and forgets it."""
        ...

    def all(self) -> list[bytes]:
        """All that is kept, oldest first."""
        ...

    def close(self) -> None:
        """Forgets everything; may be called twice."""
        ...


class MemoryStore:
    """Batches in memory."""

    def __init__(self) -> None:
        self._contents: deque[bytes] = deque()

    def append(self, content: bytes) -> None:
        """Keeps one more."""
        self._contents.append(content)

    def pop(self) -> bytes:
        """Gives the oldest back, and forgets it."""
        return self._contents.popleft()

    def all(self) -> list[bytes]:
        """All that is kept, oldest first."""
        return list(self._contents)

    def close(self) -> None:
        """Forgets everything; may be called twice."""
        self._contents.clear()


class DiskStore:
    """Batches in a few files that only their owner may read; a file goes when all that is in it is forgotten.

    Raises `OSError` where the disk is full.
    """

    FILE_BYTES: Final = 16 << 20

    def __init__(self, folder: str | Path | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="affectstream-ring-", dir=folder)  # mode 0700
        self._places: deque[tuple[int, int, int]] = deque()
        self._number = 0
        self._length = 0

    def append(self, content: bytes) -> None:
        """Keeps one more."""
        if self._length and self._length + len(content) > self.FILE_BYTES:
            self._number, self._length = self._number + 1, 0
        descriptor = os.open(self._path(self._number), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.seek(self._length)
            file.write(content)
        self._places.append((self._number, self._length, len(content)))
        self._length += len(content)

    def pop(self) -> bytes:
        """Gives the oldest back, and forgets it."""
        place = self._places.popleft()
        content = self._read(place)
        if place[0] != self._number and (not self._places or self._places[0][0] != place[0]):
            self._path(place[0]).unlink()
        return content

    def all(self) -> list[bytes]:
        """All that is kept, oldest first."""
        return [self._read(place) for place in self._places]

    def close(self) -> None:
        """Forgets everything; may be called twice."""
        self._places.clear()
        self._folder.cleanup()

    def _path(self, number: int) -> Path:
        return Path(self._folder.name) / f"{number:06}"

    def _read(self, place: tuple[int, int, int]) -> bytes:
        number, offset, length = place
        with self._path(number).open("rb") as file:
            file.seek(offset)
            return file.read(length)


class Ring:
    """The newest batches of a recorded session; a recorder's sink. May be written and saved by different threads.

    What is saved begins in the middle of a session: its first entry is the start of a source epoch where the ring begins, so
    that a replay publishes one hole up to there and goes on from it.
    """

    def __init__(
        self,
        head: RecordingHead,
        settings: RingSettings = RingSettings(),  # noqa: B008 - immutable
        *,
        media: MediaHead | None = None,
        notices: tuple[str, ...] = (),
        folder: str | Path | None = None,
    ) -> None:
        """`notices` are told at the end of what is saved."""
        self._head = head
        self._notices = ("the newest stretch of a longer session", *notices)
        self._media = media
        self._settings = settings
        self._store: BatchStore = MemoryStore() if settings.store == "memory" else DiskStore(folder)
        self._kept: deque[tuple[int, int]] = deque()
        self._bytes = 0
        self._newest_ns = 0
        self._before = _Before(head)
        self._lock = threading.Lock()

    @property
    def span_ns(self) -> int:
        """How much session time is kept."""
        with self._lock:
            return self._newest_ns - self._kept[0][0] if self._kept else 0

    @property
    def size(self) -> int:
        """How many bytes are kept."""
        return self._bytes

    def write(self, batch: Batch) -> None:
        """Takes messages that belong together, and forgets those that are beyond the bounds."""
        content = msgspec.msgpack.encode(batch)
        with self._lock:
            self._newest_ns = max(self._newest_ns, batch[-1].log_ns)
            self._store.append(content)
            self._kept.append((batch[-1].log_ns, len(content)))
            self._bytes += len(content)
            oldest_ns = self._newest_ns - self._settings.span_ns
            while len(self._kept) > 1 and (self._kept[0][0] < oldest_ns or self._bytes > self._settings.max_bytes):
                self._bytes -= self._kept.popleft()[1]
                self._before.heed(_decode(self._store.pop()))

    def save(self, path: str | Path) -> None:
        """Writes what is kept as a recording. Raises `RecordingError`, or `OSError` where there is no room for it."""
        with self._lock:
            batches = [_decode(content) for content in self._store.all()]
            opening, reconnected = self._before.opening(), self._before.reconnected
        if opening and self._before.epoch == 0:
            batches = [_epoch_later(batch) for batch in batches]
        with RecordingWriter(path, self._head) as writer:
            if self._media is not None:
                writer.media_head(self._media)
            if opening:
                at_ns = max(0, opening[0].arrival_ns)
                writer.write([RecordedMessage(DOOR, at_ns, encode_entries(opening))])
            if reconnected is not None:
                writer.write([reconnected])
            for batch in batches:
                writer.write(batch)
            writer.finish(RecordingEnd(complete=False, dispositions={}, notices=self._notices))

    def finish(self, end: RecordingEnd) -> None:
        """The session is over: what is kept stays until it is closed."""

    def close(self) -> None:
        """Forgets everything; may be called twice."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0
            self._store.close()


class _Before:
    """What of the forgotten past holds on: epoch, streams that are idle or have ended, and up to where it went."""

    def __init__(self, head: RecordingHead) -> None:
        self._sources = tuple(stream.name for stream in head.streams if stream.source is None)
        self.epoch = 0
        self.reconnected: RecordedMessage | None = None
        """What decodes the media that come first."""
        self._reached_ns = 0
        self._arrival_ns: int | None = None
        self._state: dict[str, Entry] = {}

    def heed(self, batch: Batch) -> None:
        """Takes what is being forgotten."""
        for message in batch:
            if message.topic == RECONNECTED:
                self.reconnected = message
            if message.topic == DOOR:
                for self._arrival_ns, entry in decode_entries(message.data, _Silence()):
                    self._entry(entry)

    def opening(self) -> list[Arrived]:
        """What has to come first at the door; nothing where nothing is forgotten."""
        if self._arrival_ns is None:
            return []
        # Nothing can start epoch 0 anew: then all epochs are one more in what is saved.
        start = EpochStart(streams=self._sources, epoch=max(1, self.epoch), at_ns=self._reached_ns)
        return [Arrived(self._arrival_ns, entry) for entry in (start, *self._state.values())]

    def _entry(self, entry: Entry) -> None:
        if isinstance(entry, Packet):
            self._reached_ns = max(self._reached_ns, entry.end_ns)
        elif isinstance(entry, EpochStart):
            self.epoch = entry.epoch
            self._reached_ns = max(self._reached_ns, entry.at_ns)
            for name in entry.streams:
                self._state.pop(name, None)
        elif isinstance(entry, StreamIdle | StreamEnd):
            self._state[entry.stream] = entry
        elif isinstance(entry, StreamActive):
            self._state.pop(entry.stream, None)


class _Silence(Sounds):
    """Stands for samples that nobody looks at."""

    def take(self, stream: str, count: int) -> np.ndarray:  # noqa: ARG002
        return np.zeros(max(0, count), np.int16)


def _epoch_later(batch: Batch) -> Batch:
    """The batch with every source epoch one more."""
    return [
        message._replace(data=encode_entries([_later(a) for a in decode_entries(message.data, _Silence())]))
        if message.topic == DOOR
        else message
        for message in batch
    ]


def _later(arrived: Arrived) -> Arrived:
    entry = arrived.entry
    if isinstance(entry, Packet | EpochStart):
        return Arrived(arrived.arrival_ns, msgspec.structs.replace(entry, epoch=entry.epoch + 1))
    if isinstance(entry, Shed | CaughtUp):
        return Arrived(arrived.arrival_ns, msgspec.structs.replace(entry, source_epoch=entry.source_epoch + 1))
    return arrived


def _decode(content: bytes) -> Batch:
    return msgspec.msgpack.decode(content, type=list[RecordedMessage])
