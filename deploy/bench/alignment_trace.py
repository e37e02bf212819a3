"""Traces of live sessions with their truth: the format they are exchanged in, read strictly and written.

The first line is the header, then a packet or an end a line, in order of arrival. `start_ns` and `end_ns` are true session
time, for scoring alone; only their difference may be known to what is measured. `device_ns` is the start as the device
stamped it, from an unknown zero; words are stamped in session time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from stream.errors import SourceError
from stream.timeline.live import LiveStream
from stream.timeline.packets import Modality
from stream.timeline.time import NS_PER_SECOND

WORDS_REORDER_NS = 3 * NS_PER_SECOND
"""Words may overtake each other by as much as they may be late: a recogniser gives the long utterance after the short one."""
_MODALITIES = {"word": Modality.TEXT, "text": Modality.TEXT, "audio": Modality.AUDIO, "mic": Modality.AUDIO}


class StreamHeader(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a trace says of a stream: the nominal time between its packets; absent for words."""

    period_ns: int | None = None


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a trace."""

    trace: int = 1
    seed: int = 0
    window_ns: int
    streams: dict[str, StreamHeader]


class TracePacket(msgspec.Struct, frozen=True, kw_only=True):
    """A packet as it arrived, and its truth."""

    stream: str
    seq: int
    start_ns: int
    end_ns: int
    device_ns: int
    arrival_ns: int

    @property
    def length_ns(self) -> int:
        """All of the truth that what is measured may know."""
        return self.end_ns - self.start_ns


class TraceEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a stream."""

    stream: str
    end: bool = True
    arrival_ns: int


Event = TracePacket | TraceEnd


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """A trace with its events in memory."""

    header: Header
    events: list[Event]

    @property
    def packets(self) -> list[TracePacket]:
        """Its packets, in order of arrival."""
        return [event for event in self.events if isinstance(event, TracePacket)]


class _Line(msgspec.Struct, frozen=True):
    """Any line after the header."""

    stream: str
    arrival_ns: int
    seq: int | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    device_ns: int | None = None
    end: bool = False


def modality_of(name: str, header: StreamHeader) -> Modality:
    """What a stream of a trace carries: by its name, else words where it has no period, and video where it has."""
    known = next((modality for prefix, modality in _MODALITIES.items() if name.lower().startswith(prefix)), None)
    return known or (Modality.TEXT if header.period_ns is None else Modality.VIDEO)


def live_streams(header: Header) -> list[LiveStream]:
    """The streams as the live door is told of them: each but words has a device of its own."""
    declared = []
    for name, stream in header.streams.items():
        modality = modality_of(name, stream)
        if modality is Modality.TEXT:
            declared.append(LiveStream(name=name, modality=modality, reorder_ns=WORDS_REORDER_NS))
        else:
            declared.append(LiveStream(name=name, modality=modality, device=name))
    return declared


def read_trace(path: Path) -> Trace:
    """Reads a trace. Raises `SourceError` that names the file and the line."""
    try:
        with path.open("rb") as file:
            lines = [(number, line) for number, line in enumerate(file, 1) if line.strip()]
    except OSError as error:
        raise SourceError(f"trace {path}", found=(error.strerror or str(error)).lower(), fix="check the path") from None
    if not lines:
        raise SourceError(f"trace {path}", found="nothing", expected="a header, then a packet a line")
    header = _header(path, lines[0][1])
    trace = Trace(header=header, events=list(_events(path, header, lines[1:])))
    if not trace.packets:
        raise SourceError(f"trace {path}", found="no packet", expected="a packet a line after the header")
    return trace


def write_trace(trace: Trace, path: Path) -> None:
    """Writes a trace as `read_trace` reads it. Raises `SourceError` where the file can't be written."""
    write_lines(path, [trace.header, *trace.events])


def write_lines(path: Path, lines: Iterable[object]) -> None:
    """Writes JSON, one value a line. Raises `SourceError` where the file can't be written."""
    try:
        path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    except OSError as error:
        raise SourceError(f"file {path}", found=(error.strerror or str(error)).lower(), fix="name another one") from None


def _header(path: Path, line: bytes) -> Header:
    try:
        header = msgspec.json.decode(line, type=Header)
    except msgspec.DecodeError as error:
        raise SourceError(f"trace {path}, line 1", found=str(error), expected="the header of a trace") from None
    if header.trace != 1:
        raise SourceError(f"trace {path}, line 1", found=f"format {header.trace}", expected="format 1")
    if header.window_ns <= 0 or not header.streams:
        found = f"window_ns {header.window_ns}, {len(header.streams)} streams"
        raise SourceError(f"trace {path}, line 1", found=found, expected="a positive window_ns and a stream")
    return header


def _events(path: Path, header: Header, lines: Iterable[tuple[int, bytes]]) -> Iterator[Event]:
    decoder = msgspec.json.Decoder(_Line)
    seen: set[tuple[str, int]] = set()
    now_ns: int | None = None
    for number, raw in lines:
        what = f"trace {path}, line {number}"
        try:
            line = decoder.decode(raw)
        except msgspec.DecodeError as error:
            raise SourceError(what, found=str(error), expected="a packet or an end") from None
        if line.stream not in header.streams:
            raise SourceError(what, found=f"stream {line.stream!r}", expected=f"one of {', '.join(header.streams)}")
        if line.end:  # may be written behind the packets of others that arrived later
            yield TraceEnd(stream=line.stream, arrival_ns=line.arrival_ns if now_ns is None else max(line.arrival_ns, now_ns))
            continue
        if now_ns is not None and line.arrival_ns < now_ns:
            raise SourceError(what, found=f"arrival {line.arrival_ns} ns", expected=f"{now_ns} ns or later", fix="sort it")
        now_ns = line.arrival_ns
        if line.seq is None or line.start_ns is None or line.end_ns is None or line.device_ns is None:
            raise SourceError(what, found="a packet without all its fields", expected="seq, start_ns, end_ns, device_ns")
        if line.end_ns < line.start_ns:
            raise SourceError(what, found=f"end_ns {line.end_ns}", expected=f"at least start_ns, {line.start_ns}")
        if (line.stream, line.seq) in seen:
            raise SourceError(what, found=f"packet {line.seq} of {line.stream!r} again", expected="each seq once")
        seen.add((line.stream, line.seq))
        yield TracePacket(
            stream=line.stream,
            seq=line.seq,
            start_ns=line.start_ns,
            end_ns=line.end_ns,
            device_ns=line.device_ns,
            arrival_ns=line.arrival_ns,
        )
