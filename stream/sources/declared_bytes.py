"""How long a file says that it is, in bytes, where FFmpeg takes what is there for what was declared."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Final, Literal

from stream.sources.address import Address, Kind

_UNKNOWN_SIZES: Final = frozenset((0, 0x7FFFFFFF, 0xFFFFFFFF))
"""What writers that can't go back leave in the head of a RIFF file."""
_TAG_HEAD: Final = 10
"""Bytes before what an ID3v2 tag holds."""
_SUMMARY_WITHIN: Final = 64
"""Bytes of an MPEG audio frame within which its summary begins: behind its head and at most 32 bytes of side information."""
_HAS_FRAMES, _HAS_BYTES = 1, 2


def cut_bytes(address: Address) -> tuple[int, int] | None:
    """Bytes that the head of a RIFF file (WAV, AVI), an AIFF or an MP3 declares and bytes that are there, where there are
    fewer.
    """
    if address.kind is not Kind.FILE or not address.path.is_file():
        return None
    declared, held = _declared(address.path), address.path.stat().st_size
    return (declared, held) if declared is not None and held < declared else None


def _declared(path: Path) -> int | None:
    with path.open("rb") as file:
        head = file.read(_TAG_HEAD)
        if head[:4] in (b"RIFF", b"FORM"):
            order: Literal["little", "big"] = "big" if head[:4] == b"FORM" else "little"
            size = int.from_bytes(head[4:8], order)
            return None if size in _UNKNOWN_SIZES else size + 8
        return _of_mp3(file, _tag_bytes(head)) if path.suffix.lower() == ".mp3" or head[:3] == b"ID3" else None


def _tag_bytes(head: bytes) -> int:
    """Length of the ID3v2 tag that a file begins with: seven bits of each of four bytes count."""
    if head[:3] != b"ID3" or len(head) < _TAG_HEAD:
        return 0
    return _TAG_HEAD + sum((byte & 0x7F) << 7 * place for place, byte in enumerate(reversed(head[6:])))


def _of_mp3(file: BinaryIO, first: int) -> int | None:
    """What the summary in the first frame says (Xing's; encoders of a constant bit rate call it Info)."""
    file.seek(first)
    frame = file.read(_SUMMARY_WITHIN + 16)
    at = next((at for name in (b"Xing", b"Info") if 0 < (at := frame.find(name)) <= _SUMMARY_WITHIN), None)
    if at is None:
        return None
    flags = int.from_bytes(frame[at + 4 : at + 8], "big")
    place = at + 8 + (4 if flags & _HAS_FRAMES else 0)
    size = int.from_bytes(frame[place : place + 4], "big")
    return first + size if flags & _HAS_BYTES and size else None
