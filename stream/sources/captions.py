"""Cues of captions: WebVTT and SRT, which differ in their head and in a comma, are read by one parser."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import msgspec

from stream.errors import TranscriptError
from stream.timeline.time import NS_PER_MS

_TIME = r"(?:(\d{1,3}):)?([0-5]?\d):([0-5]?\d)(?:[.,](\d{1,3}))?"
_TIMES = re.compile(rf"^\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?$")
_ARROW = "-->"
_MARKUP = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")
_SKIPPED_BLOCK = re.compile(r"\s*(?:WEBVTT|NOTE|STYLE|REGION)(?:\s|$)")


class Cue(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a transcript: what is said in [start_ns, end_ns), and where it stands in the file.

    `measured`: the text is one word with times of its own.
    """

    line: int
    start_ns: int
    end_ns: int
    text: str
    measured: bool = False
    confidence: float | None = None


def read_captions(text: str, name: str) -> Iterator[Cue]:
    """The cues of a WebVTT or SRT text in the order of the file, markup stripped.

    `name` is for messages. Raises `TranscriptError` at the first broken cue, with its line.
    """
    times: tuple[int, int, int] | None = None
    said: list[str] = []
    identifier: int | None = None
    skipping = False
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        blank = not line.strip()
        if _ARROW in line:
            if times is not None:  # the blank line between two cues is missing
                if said and said[-1].strip().isdecimal():
                    said.pop()
                yield _cue(times, said)
            times, said, identifier, skipping = (number, *_times(line, number, name)), [], None, False
        elif blank:
            if identifier is not None:
                raise _broken(
                    name, identifier, "a line that belongs to no cue", "times (00:00:01.000 --> 00:00:02.500) after it"
                )
            if times is not None:
                yield _cue(times, said)
            times, said, skipping = None, [], False
        elif times is not None:
            said.append(line)
        elif _SKIPPED_BLOCK.match(line):
            skipping = True
        elif not skipping:
            if identifier is not None:
                raise _broken(name, number, "two lines without times", "a cue's number or name, then its times")
            identifier = number


def _cue(times: tuple[int, int, int], said: list[str]) -> Cue:
    line, start_ns, end_ns = times
    return Cue(line=line, start_ns=start_ns, end_ns=end_ns, text=html.unescape(_MARKUP.sub("", " ".join(said))))


def _times(line: str, number: int, name: str) -> tuple[int, int]:
    match = _TIMES.match(line)
    if match is None:
        raise _broken(name, number, f"times {line.strip()[:60]!r}", "times like 00:00:01.000 --> 00:00:02.500")
    start_ns, end_ns = _ns(match.groups()[:4]), _ns(match.groups()[4:])
    if end_ns < start_ns:
        raise _broken(name, number, f"a cue that ends before it starts ({line.strip()[:60]})", "its start first")
    return start_ns, end_ns


def _ns(parts: tuple[str | None, ...]) -> int:
    hours, minutes, seconds, fraction = parts
    whole = (int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)
    return (whole * 1000 + int((fraction or "0").ljust(3, "0"))) * NS_PER_MS


def _broken(name: str, line: int, found: str, expected: str) -> TranscriptError:
    return TranscriptError(f"transcript {name}, line {line}", found=found, expected=expected, fix="mend or remove this cue")
