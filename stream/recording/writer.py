"""A recording as it is written: MCAP, in chunks that go to the operating system as soon as they are complete."""

from __future__ import annotations

import os
import stat
import zlib
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, cast

import msgspec
from mcap.writer import CompressionType, Writer

from stream.errors import RecordingError
from stream.prediction import json_schema
from stream.recording import foxglove
from stream.recording.messages import Batch
from stream.recording.schemas import (
    AFFECT,
    CLOCKS,
    DOOR,
    END,
    HEAD,
    MEDIA,
    MEDIA_HEAD,
    PICTURE,
    PREDICTIONS,
    PROFILE,
    RECONNECTED,
    SOUND,
    SPEECH,
    TRANSCRIPT,
    MediaHead,
    RecordingEnd,
    RecordingHead,
)
from stream.timeline.time import NS_PER_SECOND

CHUNK_BYTES: Final = 1 << 20
"""Of messages before they are compressed: enough to compress well, a few seconds of a session."""
CHUNK_NS: Final = 5 * NS_PER_SECOND
"""Of session time after which a chunk is written however small: the most that a power cut takes."""
_PRIVATE: Final = stat.S_IRUSR | stat.S_IWUSR


class RecordingWriter:
    """Writes one recording, readable by its owner alone; use as a context manager, or call `close`.

    Raises `RecordingError` where the file can't be opened, and `OSError` where writing fails: then what was complete
    before stays, and nothing more can be written. Without `finish` the recording is cut, and says so when it is read.
    """

    def __init__(self, path: str | Path, head: RecordingHead) -> None:
        self._origin_ns = head.origin_ns
        try:
            self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _PRIVATE), "wb", 0)
        except (OSError, ValueError) as error:
            found = getattr(error, "strerror", None) or str(error)
            raise RecordingError(f"recording {path}", found=found, expected="a file that can be written") from error
        self._whole = 0
        try:
            if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                os.fchmod(self._file.fileno(), _PRIVATE)  # it may have been there before
            output = cast(IO[bytes], _WholeWrites(self._file))
            self._writer = Writer(output, chunk_size=1 << 60, compression=CompressionType.ZSTD)
            self._writer.start(profile=PROFILE)
            self._add_json(HEAD, head)
            self._flush()
        except OSError as error:
            self._file.close()
            raise RecordingError(f"recording {path}", found=error.strerror, expected="room for it") from error
        self._channels: dict[str, int] = {}
        self._gathered = 0
        self._since_ns: int | None = None

    def write(self, batch: Batch) -> None:
        """Writes messages that belong together: they share a chunk."""
        for message in batch:
            log_ns = max(0, self._origin_ns + message.log_ns)
            self._writer.add_message(self._channel(message.topic), log_ns, message.data, log_ns)
            self._gathered += len(message.data)
        at_ns = batch[-1].log_ns
        if self._since_ns is None:
            self._since_ns = at_ns
        if self._gathered >= CHUNK_BYTES or at_ns - self._since_ns >= CHUNK_NS:
            self._flush()

    def attach(self, name: str, media_type: str, data: bytes) -> None:
        """Adds a file: what decodes the media, a given transcript."""
        self._writer.add_attachment(0, max(0, self._origin_ns), name, media_type, data)
        self._flush()

    def media_head(self, head: MediaHead) -> None:
        """Adds what is needed to decode the media packets."""
        self.attach(MEDIA_HEAD, "application/msgpack", msgspec.msgpack.encode(head))

    def transcript(self, data: bytes) -> None:
        """Adds a given transcript as it was."""
        self.attach(TRANSCRIPT, "text/plain", data)

    def finish(self, end: RecordingEnd) -> None:
        """Writes the end and the index; the recording is complete."""
        self._end_chunk()
        self._add_json(END, end)
        self._writer.finish()  # type: ignore[no-untyped-call]
        self._flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file, less what is not whole at its end."""
        if self._file.closed:
            return
        try:
            if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode) and self._file.tell() > self._whole:
                self._file.truncate(self._whole)
        finally:
            self._file.close()

    def __enter__(self) -> RecordingWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _add_json(self, name: str, content: RecordingHead | RecordingEnd) -> None:
        """MCAP has no checksum for metadata."""
        text = msgspec.json.encode(content).decode()
        self._writer.add_metadata(name, {"json": text, "crc32": str(zlib.crc32(text.encode()))})

    def _end_chunk(self) -> None:
        self._writer.flush()  # type: ignore[no-untyped-call]

    def _flush(self) -> None:
        self._end_chunk()
        self._whole = self._file.tell()
        self._gathered, self._since_ns = 0, None

    def _channel(self, topic: str) -> int:
        known = self._channels.get(topic)
        if known is None:
            known = self._channels[topic] = self._register(topic)
        return known

    def _register(self, topic: str) -> int:
        register = self._writer.register_channel
        if topic in (DOOR, MEDIA, RECONNECTED):
            return register(topic, "msgpack", 0)
        if topic.startswith(SOUND):
            schema = self._writer.register_schema("foxglove.RawAudio", "protobuf", foxglove.RAW_AUDIO_SCHEMA)
            return register(topic, "protobuf", schema)
        if topic.startswith(PICTURE):
            schema = self._writer.register_schema("foxglove.CompressedImage", "protobuf", foxglove.COMPRESSED_IMAGE_SCHEMA)
            return register(topic, "protobuf", schema)
        described = {
            SPEECH: ("affectstream.Speech", foxglove.SPEECH_SCHEMA),
            AFFECT: ("affectstream.Affect", foxglove.AFFECT_SCHEMA),
            PREDICTIONS: ("affectstream.Prediction", _rooted(json_schema())),
            CLOCKS: ("affectstream.Clock", {"type": "object"}),
        }
        name, fields = described[topic]
        return register(topic, "json", self._writer.register_schema(name, "jsonschema", msgspec.json.encode(fields)))


def _rooted(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with an object at its root, where viewers look for fields, instead of a reference to one."""
    name = schema["$ref"].rpartition("/")[2]
    return {**schema["$defs"][name], "$schema": schema["$schema"], "$defs": schema["$defs"]}


class _WholeWrites:
    """An unbuffered file whose writes are whole: the system may take only a part of one."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        return len(data)

    def tell(self) -> int:
        return int(self._file.tell())

    def flush(self) -> None:
        """Nothing is held back."""
