from __future__ import annotations

import codecs
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import TranscriptError
from stream.sources.captions import Cue
from stream.sources.settings import TranscriptSettings
from stream.sources.transcript import TranscriptSource, _words, read_lines
from stream.timeline.packets import Bound, Modality, StreamEnd, Word
from stream.timeline.time import NS_PER_MS, NS_PER_SECOND, Span

VTT = """WEBVTT - a title
Kind: captions

NOTE a remark
that goes on

STYLE
::cue { color: red }

REGION
id:fred

intro
00:00:01.000 --> 00:00:02.000 align:start
<v Fred>Hello <b>there</b></v>

01:02.500 --> 01:03.500
A&amp;B
second line
"""

SRT = """1
00:00:01,000 --> 00:00:02,000
{\\an8}<i>One</i> two

2
00:00:03,000 --> 00:00:04,500
three
3
00:00:05,000 --> 00:00:06,000
- four
"""


def written(tmp_path: Path, content: str | bytes, name: str = "words.txt") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read_all(source: TranscriptSource) -> tuple[list[Word], list[object]]:
    words, controls = [], []
    while not source.ended:
        for item in source.read():
            (words if isinstance(item, Word) else controls).append(item)
    return words, controls


def texts(path: Path) -> list[str]:
    return [word.text for word in read_all(TranscriptSource(path))[0]]


def test_webvtt_is_read_without_markup_notes_styles_and_speakers(tmp_path: Path) -> None:
    path = written(tmp_path, VTT, "named.srt")  # its name says otherwise: what it holds decides
    words, _ = read_all(TranscriptSource(path))
    assert [word.text for word in words] == ["Hello", "there", "A&B", "second", "line"]
    assert all(word.estimated for word in words)
    assert read_lines(path) == (
        Span(NS_PER_SECOND, 2 * NS_PER_SECOND),
        Span(62_500 * NS_PER_MS, 63_500 * NS_PER_MS),
    )


def test_srt_is_read_also_where_the_blank_line_between_cues_is_missing(tmp_path: Path) -> None:
    assert texts(written(tmp_path, SRT)) == ["One", "two", "three", "four"]


def test_words_of_a_cue_are_spread_over_it_by_characters(tmp_path: Path) -> None:
    words, _ = read_all(TranscriptSource(written(tmp_path, "1\n00:00:10,000 --> 00:00:20,000\nab cdefg h\n")))
    assert [(word.text, word.start_ns, word.end_ns) for word in words] == [
        ("ab", 10_000_000_000, 12_000_000_000),
        ("cdefg", 13_000_000_000, 18_000_000_000),
        ("h", 19_000_000_000, 20_000_000_000),
    ]


def test_json_lines_of_words_keep_their_times(tmp_path: Path) -> None:
    rows = [{"start": 0.5, "end": 0.75, "word": "yes"}, {"start": 1, "end": 1.5, "text": "no", "confidence": 0.25}]
    path = written(tmp_path, "\n".join(map(json.dumps, rows)))
    words, _ = read_all(TranscriptSource(path))
    assert [(w.text, w.start_ns, w.end_ns, w.estimated, w.confidence) for w in words] == [
        ("yes", 500_000_000, 750_000_000, False, None),
        ("no", 1_000_000_000, 1_500_000_000, False, 0.25),
    ]
    with pytest.raises(TranscriptError, match="words without lines"):
        read_lines(path)


def test_json_lines_of_lines_are_spread_and_a_line_of_one_word_is_no_measured_word(tmp_path: Path) -> None:
    rows = [{"start": 0, "end": 2, "text": "well then"}, {"start": 3, "end": 4, "text": "yes"}]
    path = written(tmp_path, "\n\n".join(map(json.dumps, rows)))
    words, _ = read_all(TranscriptSource(path))
    assert [word.text for word in words] == ["well", "then", "yes"]
    assert all(word.estimated for word in words)
    assert read_lines(path) == (Span(0, 2 * NS_PER_SECOND), Span(3 * NS_PER_SECOND, 4 * NS_PER_SECOND))


def test_json_lines_that_list_their_words_give_those(tmp_path: Path) -> None:
    row = {
        "start": 0,
        "end": 2,
        "text": "a b",
        "words": [{"start": 0.1, "end": 0.2, "word": "a"}, {"start": 1, "end": 2, "word": "b"}],
    }
    words, _ = read_all(TranscriptSource(written(tmp_path, json.dumps(row))))
    assert [(word.text, word.start_ns, word.estimated) for word in words] == [("a", 100_000_000, False), ("b", 10**9, False)]


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF8 + VTT.encode(),
        VTT.replace("\n", "\r\n").encode(),
        VTT.replace("\n", "\r").encode(),
        VTT.encode("utf-16"),
        VTT.replace("WEBVTT - a title\nKind: captions\n\n", "WEBVTT\n").encode(),
    ],
    ids=["byte order mark", "CRLF", "CR", "UTF-16", "no blank line after the head"],
)
def test_encodings_and_line_ends_change_nothing(tmp_path: Path, data: bytes) -> None:
    assert texts(written(tmp_path, data)) == ["Hello", "there", "A&B", "second", "line"]


def test_what_is_not_utf_8_is_read_as_latin_1_and_says_so(tmp_path: Path) -> None:
    source = TranscriptSource(written(tmp_path, "1\n00:00:01,000 --> 00:00:02,000\ncafé d’or\n".encode("cp1252")))
    assert any("not UTF-8" in notice for notice in source.notices)
    assert [word.text for word in read_all(source)[0]] == ["café", "d’or"]


def test_unsorted_and_overlapping_cues_come_in_order_of_start_and_are_told(tmp_path: Path) -> None:
    cues = "00:05.000 --> 00:06.000\nlate\n\n00:01.000 --> 00:03.000\naa bb\n\n00:02.000 --> 00:02.500\nxx\n"
    path = written(tmp_path, "WEBVTT\n\n" + cues)
    source = TranscriptSource(path)
    words, controls = read_all(source)
    assert [word.text for word in words] == ["aa", "xx", "bb", "late"]
    starts = [word.start_ns for word in words]
    assert starts == sorted(starts)
    assert [word.sequence for word in words] == [0, 1, 2, 3]
    assert len(source.notices) == 2
    assert "sorted" in source.notices[0]
    assert "alternate" in source.notices[1]
    assert [span.start_ns for span in read_lines(path)] == [10**9, 2 * 10**9, 5 * 10**9]
    assert controls[-1] == StreamEnd(stream="words", at_ns=6 * NS_PER_SECOND)


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        ("WEBVTT\n\n00:01.000 --> 00:0x.000\nhello\n", 3, "times"),
        ("WEBVTT\n\n00:05.000 --> 00:01.000\nhello\n", 3, "ends before it starts"),
        ("1\n00:00:01,000 --> 00:00:02,000\nhello\n\n2\nno times here\n", 6, "two lines without times"),
        ("1\n00:00:01,000 --> 00:00:02,000\nhello\n\n2\n", 5, "belongs to no cue"),
        ('{"start": 0, "end": 1, "text": "a"}\n\n{"start": 0, "end": }', 3, "no JSON"),
        ('{"start": 0, "end": 1, "text": "a"}\n[1]', 2, "type list"),
        ('{"start": 2, "end": 1, "text": "a"}', 1, "start 2 and end 1"),
        ('{"start": -1, "end": 1, "text": "a"}', 1, "start -1"),
        ('{"start": NaN, "end": 1, "text": "a"}', 1, "start NaN"),
        ('{"start": 0, "text": "a"}', 1, "no end"),
        ('{"start": 0, "end": 1}', 1, "no text"),
        ('{"start": 0, "end": 1, "text": 7}', 1, "type int"),
        ('{"start": 0, "end": 1, "text": "a", "confidence": 2}', 1, "confidence"),
        ('{"start": 0, "end": 1' + "0" * 400 + ', "text": "a"}', 1, "end 1000"),
        ("WEBVTT\n\n99:00:00.000 --> 99:00:01.000\nhello\n", 3, "at most"),
    ],
)
def test_a_broken_cue_is_one_line_that_names_its_line_and_quotes_no_words(
    tmp_path: Path, content: str, line: int, says: str
) -> None:
    with pytest.raises(TranscriptError) as raised:
        TranscriptSource(written(tmp_path, content))
    message = str(raised.value)
    assert f"line {line}:" in message
    assert says in message
    assert "hello" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"just prose\n", "neither times"),
        (b'[{"start": 0}]', "JSON array"),
        (b"\x00\x01\x02ftyp", "binary"),
    ],
)
def test_what_is_no_transcript_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(TranscriptError, match=says):
        TranscriptSource(written(tmp_path, content))


def test_missing_files_directories_and_files_that_are_too_large_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TranscriptError, match="no such file"):
        TranscriptSource(tmp_path / "nowhere.vtt")
    with pytest.raises(TranscriptError, match="directory"):
        TranscriptSource(tmp_path)
    with pytest.raises(TranscriptError, match="more than 100 bytes"):
        TranscriptSource(written(tmp_path, VTT), settings=TranscriptSettings(max_bytes=100))


def test_a_transcript_without_cues_ends_at_once_and_says_so(tmp_path: Path) -> None:
    source = TranscriptSource(written(tmp_path, "WEBVTT\n"))
    assert source.streams[0].modality is Modality.TEXT
    assert source.read() == [StreamEnd(stream="words", at_ns=0)]
    assert source.ended
    assert source.read() == []
    assert "no words" in source.notices[0]


@given(
    st.lists(
        st.tuples(st.integers(0, 10**12), st.integers(0, 10**10), st.text("abc é-.", max_size=20), st.booleans()),
        max_size=12,
    )
)
@settings(deadline=None)
def test_words_lie_inside_their_cue_in_order(cues: list[tuple[int, int, str, bool]]) -> None:
    for start_ns, length_ns, text, measured in cues:
        cue = Cue(line=1, start_ns=start_ns, end_ns=start_ns + length_ns, text=text, measured=measured)
        words = _words([cue], "words")
        if words:
            assert words[0].start_ns == cue.start_ns
        edges = [edge for word in words for edge in (word.start_ns, word.end_ns)]
        assert edges == sorted(edges)
        assert all(cue.start_ns <= edge <= cue.end_ns for edge in edges)


def test_bounds_are_exact_and_never_go_back(tmp_path: Path) -> None:
    words, controls = read_all(TranscriptSource(written(tmp_path, SRT)))
    bounds = [control.bound_ns for control in controls if isinstance(control, Bound)]
    assert bounds[:-1] == [word.start_ns for word in words[1:]]
    assert bounds == sorted(bounds)
