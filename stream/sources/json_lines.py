"""Transcripts as JSON lines: an object a line, of a word or of a line of speech, times in seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeGuard

from stream.errors import TranscriptError
from stream.sources.captions import Cue
from stream.timeline.time import from_seconds

_EXPECTED = '{"start": seconds, "end": seconds, "text": ...}'


def read_json_lines(text: str, name: str) -> Iterator[Cue]:
    """The cues of a text of JSON lines, in the order of the file.

    A line of speech may list its words (`words`), which are taken instead. Where every `text` of the file is one word,
    and wherever the key is `word`, the times are those of a word. `name` is for messages. Raises `TranscriptError` at the
    first broken line.
    """
    rows = [(number, _object(line, number, name)) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    words_only = all(len(str(row.get("text", "")).split()) <= 1 for _, row in rows)
    for number, row in rows:
        words = row.get("words")
        if isinstance(words, list) and words:
            for word in words:
                if not isinstance(word, dict):
                    raise _broken(
                        name, number, "words that are no objects", '"words": [{"start": ..., "end": ..., "word": ...}]'
                    )
                yield _cue(word, number, name, measured=True)
        else:
            yield _cue(row, number, name, measured=words_only or "word" in row)


def _object(line: str, number: int, name: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        where = f"no JSON (at character {error.pos + 1})" if isinstance(error, json.JSONDecodeError) else "no JSON"
        raise _broken(name, number, where, _EXPECTED) from None  # the original quotes what was said
    if not isinstance(row, dict):
        raise _broken(name, number, f"JSON of type {type(row).__name__}", _EXPECTED)
    return row


def _cue(row: dict[str, Any], number: int, name: str, *, measured: bool) -> Cue:
    said = row.get("word", row.get("text"))
    if not isinstance(said, str):
        raise _broken(name, number, "no text" if said is None else f"a text of type {type(said).__name__}", _EXPECTED)
    start_ns, end_ns = (from_seconds(_seconds(row, key, number, name)) for key in ("start", "end"))
    if end_ns < start_ns:
        raise _broken(name, number, f"start {row['start']} and end {row['end']}", "an end that is not before the start")
    confidence = row.get("confidence", row.get("probability"))
    if not (confidence is None or (_is_number(confidence) and 0 <= confidence <= 1)):
        raise _broken(name, number, "a confidence that is none", "a number in [0, 1]")
    return Cue(
        line=number,
        start_ns=start_ns,
        end_ns=end_ns,
        text=said,
        measured=measured and row.get("estimated") is not True,
        confidence=None if confidence is None else float(confidence),
    )


def _seconds(row: dict[str, Any], key: str, number: int, name: str) -> float:
    value = row.get(key)
    if not (_is_number(value) and 0 <= value < 1e9):
        found = f"no {key}" if value is None else f"{key} {json.dumps(value)[:40]}"
        raise _broken(name, number, found, f"{key} as seconds, zero or more")
    return float(value)


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e18 < value < 1e18


def _broken(name: str, line: int, found: str, expected: str) -> TranscriptError:
    return TranscriptError(f"transcript {name}, line {line}", found=found, expected=expected, fix="mend or remove this line")
