"""The publisher's log on disk: what is in it survives the death of the process (kill -9), not that of the machine.

A folder of files `NUMBER.log`, each a row of records: length and CRC-32 of the rest (4 bytes each, little-endian), then
MessagePack. The end of the last file may be torn; it is cut off when the log is opened.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from stream.errors import PublishingError
from stream.publishing.wire import LARGEST_FRAME, Position

FILE_BYTES = 8 << 20
KEPT_BYTES = 128 << 20
"""Of all files: twice what the ring holds, since superseded revisions stay in the files."""
_HEAD = struct.Struct("<II")

Segment = tuple[int, int, int, str, int]
"""Where the session's run began (publisher epoch, global sequence), source epoch, lane, start_ns."""


class Started(msgspec.Struct, frozen=True, tag="s", array_like=True):
    """A publisher epoch begins; `previous` is where the one before ended."""

    epoch: int
    previous: Position | None


class Logged(msgspec.Struct, frozen=True, tag="m", array_like=True):
    """A message as it goes out; `segment` is the identity of what it is a revision of."""

    epoch: int
    number: int
    sequence: int
    frames: list[bytes]
    segment: Segment | None = None


Record = Started | Logged


class Log:
    """Opens the log in `folder`, which is made where there is none; one publisher at a time.

    `append` raises `OSError` where the disk is full or gone. Raises `PublishingError` where the folder can't be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise PublishingError(f"publisher's log {folder}", found=error.strerror, expected="a folder to write in") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise PublishingError(
                f"publisher's log {folder}", found="in use by another publisher", fix="choose another folder"
            ) from error
        self._numbers = sorted(int(path.stem) for path in folder.glob("*.log") if path.stem.isdigit())
        self._kept = sum(self._path(number).stat().st_size for number in self._numbers)
        self._file = -1
        self._size = 0

    def records(self) -> Iterator[Record]:
        """All that is in the log, oldest first; cuts off what is torn at the end of the last file."""
        for number in self._numbers:
            data = self._path(number).read_bytes()
            at = 0
            while (record := _record_at(data, at)) is not None:
                yield record[0]
                at = record[1]
            if at < len(data):
                os.truncate(self._path(number), at)
                self._kept -= len(data) - at

    def append(self, records: list[Record]) -> None:
        """Writes records through to the operating system."""
        rows: list[bytes] = []
        for record in records:
            packed = _encoder.encode(record)
            rows += (_HEAD.pack(len(packed), zlib.crc32(packed)), packed)
        rest = memoryview(b"".join(rows))
        if self._file < 0 or self._size >= FILE_BYTES:
            self._next_file()
        self._size += len(rest)
        self._kept += len(rest)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def close(self) -> None:
        """Closes the file and lets another publisher in."""
        if self._file >= 0:
            os.close(self._file)
        os.close(self._lock)

    def _next_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._numbers.append(self._numbers[-1] + 1 if self._numbers else 1)
        self._file = os.open(self._path(self._numbers[-1]), os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = 0
        while self._kept > KEPT_BYTES and len(self._numbers) > 1:
            oldest = self._path(self._numbers.pop(0))
            self._kept -= oldest.stat().st_size
            oldest.unlink()

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08}.log"


def _record_at(data: bytes, at: int) -> tuple[Record, int] | None:
    """The record at an offset and where the next one begins; None where it is torn or damaged."""
    if at + _HEAD.size > len(data):
        return None
    length, checksum = _HEAD.unpack_from(data, at)
    packed = data[at + _HEAD.size : at + _HEAD.size + length]
    if length > 2 * LARGEST_FRAME or len(packed) < length or zlib.crc32(packed) != checksum:
        return None
    try:
        return _decoder.decode(packed), at + _HEAD.size + length
    except msgspec.DecodeError:
        return None


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)
