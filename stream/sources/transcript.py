"""Given transcripts: WebVTT, SRT or JSON lines, told apart by what they hold, as a stream of words."""

from __future__ import annotations

import codecs
import itertools
from pathlib import Path
from typing import NamedTuple

from stream.errors import TranscriptError
from stream.sources.captions import Cue, read_captions
from stream.sources.json_lines import read_json_lines
from stream.sources.readable import SourceStream
from stream.sources.settings import TranscriptSettings
from stream.timeline.packets import Bound, Item, Modality, StreamEnd, Word
from stream.timeline.time import Span, to_seconds

_DEFAULTS = TranscriptSettings()
_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class TranscriptSource:
    """A transcript as a readable source: words in order of start, each with the exact bound that the next one gives.

    The words of a cue are spread over it by characters and marked `estimated`. Raises `TranscriptError` where the file
    can't be read, naming the line.
    """

    def __init__(self, path: str | Path, *, stream: str = "words", settings: TranscriptSettings = _DEFAULTS) -> None:
        transcript = _read(path, settings)
        self._stream = stream
        self._words = sorted(_words(transcript.cues, stream), key=lambda word: (word.start_ns, word.end_ns))
        self._next = 0
        self._end_ns = max((word.end_ns for word in self._words), default=0)
        self.streams: tuple[SourceStream, ...] = (SourceStream(stream, Modality.TEXT),)
        self.duration_ns: int | None = self._end_ns
        self.notices = transcript.notices if self._words else (*transcript.notices, f"{stream}: the transcript holds no words")
        self.dropped: dict[str, int] = {stream: 0}
        self.position_ns = 0
        self.compressed_bytes = 0
        self.ended = False
        self.cut: str | None = None

    def read(self) -> list[Item]:
        """The next word and the bound after it; after the last one, the stream's end."""
        self.compressed_bytes = 0
        if self.ended:
            return []
        if self._next == len(self._words):
            self.ended = True
            return [StreamEnd(stream=self._stream, at_ns=self._end_ns)]
        word = self._words[self._next]
        numbered = Word(
            stream=self._stream,
            sequence=self._next,
            start_ns=word.start_ns,
            end_ns=word.end_ns,
            text=word.text,
            estimated=word.estimated,
            confidence=word.confidence,
        )
        self._next += 1
        last = self._next == len(self._words)
        self.position_ns = max(self.position_ns, word.end_ns)
        self.compressed_bytes = len(word.text)
        return [numbered, Bound(stream=self._stream, bound_ns=self._end_ns if last else self._words[self._next].start_ns)]

    def close(self) -> None:
        """Nothing is held open."""


def read_lines(path: str | Path, *, settings: TranscriptSettings = _DEFAULTS) -> tuple[Span, ...]:
    """The spans of a transcript's lines in order of start, as they stand: they may overlap.

    Raises `TranscriptError` where the file can't be read, or holds words without lines.
    """
    transcript = _read(path, settings)
    cues = [cue for cue in transcript.cues if cue.text.strip()]
    if cues and all(cue.measured for cue in cues):
        raise TranscriptError(
            f"transcript {path}",
            found="words without lines",
            expected="lines",
            fix="give WebVTT, SRT or JSON lines of whole lines, or segment by utterances",
        )
    return tuple(sorted(Span(cue.start_ns, cue.end_ns) for cue in cues if cue.end_ns > cue.start_ns))


class _Transcript(NamedTuple):
    cues: list[Cue]
    notices: tuple[str, ...]


def _read(path: str | Path, settings: TranscriptSettings) -> _Transcript:
    name = str(path)
    text, notices = _decoded(_bytes(Path(path), name, settings), name)
    cues = list(_parsed(text, name))
    latest = max(cues, key=lambda cue: cue.end_ns, default=None)
    if latest is not None and latest.end_ns > settings.max_duration_ns:
        raise TranscriptError(
            f"transcript {name}, line {latest.line}",
            found=f"an end at {to_seconds(latest.end_ns):.0f} s",
            expected=f"at most {to_seconds(settings.max_duration_ns):.0f} s",
            fix="times are in seconds from the start of the media",
        )
    unsorted = sum(later.start_ns < earlier.start_ns for earlier, later in itertools.pairwise(cues))
    if unsorted:
        notices.append(f"transcript: {unsorted} cues stand before an earlier one: sorted")
        cues.sort(key=lambda cue: (cue.start_ns, cue.end_ns))
    overlapping = sum(later.start_ns < earlier.end_ns for earlier, later in itertools.pairwise(cues))
    if overlapping:
        notices.append(f"transcript: {overlapping} cues begin before the one before has ended: their words alternate")
    return _Transcript(cues, tuple(notices))


def _bytes(path: Path, name: str, settings: TranscriptSettings) -> bytes:
    what = f"transcript {name}"
    try:
        if path.is_dir():
            raise TranscriptError(what, found="a directory", expected="a file", fix="name one file in it")
        with path.open("rb") as file:
            data = file.read(settings.max_bytes + 1)
    except (OSError, ValueError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", None) or str(error)
        raise TranscriptError(what, found=reason.lower(), expected="a transcript", fix="check the path") from None
    if len(data) > settings.max_bytes:
        raise TranscriptError(
            what, found=f"more than {settings.max_bytes} bytes", expected="a transcript", fix="is it the media?"
        )
    if not data.strip():
        raise TranscriptError(what, found="an empty file", expected="WebVTT, SRT or JSON lines")
    return data


def _decoded(data: bytes, name: str) -> tuple[str, list[str]]:
    if data.startswith(_UTF_16_MARKS):
        return data.decode("utf-16", errors="replace"), []
    if b"\0" in data:
        expected = "WebVTT, SRT or JSON lines as text"
        raise TranscriptError(f"transcript {name}", found="binary data", expected=expected, fix="is it the media?")
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace"), ["transcript: it is not UTF-8, read as Latin-1 (Windows-1252)"]


def _parsed(text: str, name: str) -> list[Cue]:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    head = text.lstrip()
    if head.startswith("{"):
        return list(read_json_lines(text, name))
    if head.startswith("WEBVTT") or "-->" in text:
        return list(read_captions(text, name))
    found = "a JSON array" if head.startswith("[") else "neither times (-->) nor JSON"
    raise TranscriptError(
        f"transcript {name}",
        found=found,
        expected="WebVTT, SRT, or JSON lines",
        fix='one {"start": seconds, "end": seconds, "text": ...} a line',
    )


def _words(cues: list[Cue], stream: str) -> list[Word]:
    """Words (not yet numbered), those of a cue spread over it by characters, a space between two counted as one."""
    words = []
    for cue in cues:
        tokens = [token for token in cue.text.split() if any(letter.isalnum() for letter in token)]
        if cue.measured:
            tokens = [" ".join(tokens)] if tokens else []
        length = sum(map(len, tokens)) + len(tokens) - 1
        offset = 0
        for token in tokens:
            start_ns, end_ns = (
                cue.start_ns + (cue.end_ns - cue.start_ns) * place // length for place in (offset, offset + len(token))
            )
            offset += len(token) + 1
            words.append(
                Word(
                    stream=stream,
                    sequence=0,
                    start_ns=start_ns,
                    end_ns=end_ns,
                    text=token,
                    estimated=not cue.measured,
                    confidence=cue.confidence,
                )
            )
    return words
