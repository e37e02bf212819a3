"""The records of an MCAP file in order, from a file that may be cut, damaged or hostile: every size is checked before use."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import IO, Any, Final

import lz4.frame
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Attachment, Channel, Chunk, Footer, McapRecord, Metadata, Schema
from mcap.stream_reader import breakup_chunk
from mcap.writer import MCAP0_MAGIC

from stream.errors import RecordingError

LARGEST_RECORD: Final = 64 << 20
"""Bytes of a record as it lies in the file: a given transcript may have 32 MB, our chunks have about one."""
LARGEST_CHUNK: Final = 64 << 20
"""Bytes of a chunk once it is unpacked: ours have a few, other writers' defaults are 1 to 4."""
_HEAD: Final = struct.Struct("<BQ")
_PARSED: Final[dict[int, Any]] = {
    Opcode.SCHEMA: Schema,
    Opcode.CHANNEL: Channel,
    Opcode.CHUNK: Chunk,
    Opcode.ATTACHMENT: Attachment,
    Opcode.METADATA: Metadata,
    Opcode.FOOTER: Footer,
}
_UNREADABLE: Final = (McapError, struct.error, ValueError, OverflowError, EOFError, zstandard.ZstdError, RuntimeError)


class CutError(Exception):
    """The file ends, or stops making sense, here: what came before stands."""


def records(file: IO[bytes], name: str) -> Iterator[McapRecord]:
    """Schemas, channels, messages, attachments, metadata, and the footer of a complete file.

    Raises `CutError` where the file is cut or damaged, after what comes before; `RecordingError` where it is no MCAP file,
    or a size in it is beyond all that a recording has.
    """
    if file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
        raise RecordingError(name, found="no MCAP file", expected="a recording", fix="affectstream record makes one")
    while True:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            raise CutError("it has no end")
        opcode, size = _HEAD.unpack(head)
        if size > LARGEST_RECORD:
            if opcode in _PARSED:
                raise RecordingError(name, found=f"a record of {size} bytes", expected=f"at most {LARGEST_RECORD}")
            raise CutError(f"a record of {size} bytes")
        body = file.read(size)
        if len(body) < size:
            raise CutError("it ends inside of a record")
        if opcode not in _PARSED:
            if opcode == 0:  # what a file system leaves where a power cut came before the content
                raise CutError("zeros where a record should be")
            continue
        if opcode == Opcode.ATTACHMENT and zlib.crc32(body[:-4]) != int.from_bytes(body[-4:], "little"):
            raise CutError("an attachment whose checksum is wrong")
        try:
            record: McapRecord = _PARSED[opcode].read(ReadDataStream(io.BytesIO(body)))
        except _UNREADABLE as error:
            raise CutError(f"a record that can't be read ({type(error).__name__})") from error
        if isinstance(record, Chunk):
            yield from _unpacked(record, name)
        else:
            yield record
        if isinstance(record, Footer):
            if file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
                raise CutError("its last bytes are missing")
            return


def _unpacked(chunk: Chunk, name: str) -> list[McapRecord]:
    """The records of a chunk. What it says that it unpacks to is checked before it is unpacked."""
    size = chunk.uncompressed_size
    if size > LARGEST_CHUNK:
        raise RecordingError(name, found=f"a chunk of {size} bytes", expected=f"at most {LARGEST_CHUNK}")
    if chunk.compression not in ("zstd", "lz4", ""):
        raise RecordingError(name, found=f"compression {chunk.compression[:20]!r}", expected="zstd, lz4 or none")
    try:
        data = _unpack(chunk)
        if len(data) != size or (chunk.uncompressed_crc and zlib.crc32(data) != chunk.uncompressed_crc):
            raise CutError("a chunk whose checksum is wrong")
        plain = Chunk("", data, chunk.message_end_time, chunk.message_start_time, chunk.uncompressed_crc, size)
        return breakup_chunk(plain)
    except _UNREADABLE as error:
        raise CutError(f"a chunk that can't be read ({type(error).__name__})") from error


def _unpack(chunk: Chunk) -> bytes:
    if chunk.compression == "zstd":
        # The library allocates what the frame itself states, whatever it is told.
        if zstandard.frame_content_size(chunk.data) not in (-1, chunk.uncompressed_size):
            raise CutError("a chunk of another size than it says")
        return zstandard.decompress(chunk.data, max_output_size=chunk.uncompressed_size)
    if chunk.compression == "lz4":
        return bytes(lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=chunk.uncompressed_size + 1))
    return chunk.data
