from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path

import pytest

from deploy.report import page as pages
from deploy.report.content import Marker, ReportContent, content_of
from deploy.report.media import PlayableMedia
from deploy.report.page import page, write_page
from stream.errors import InputError
from stream.prediction import Prediction, Result, SentimentEstimate, Transcript, encode

NASTY = "</script><script>alert(1)</script><!-- {{data}} {{title}} \"' \u2028 \\ &lt;"


def result(start: int, *, status: str = "final", words: str = "hello", session: str = "s", kind: str = "utterance") -> Result:
    return Result(
        session=session,
        kind=kind,
        start_ns=start * 1_000_000_000,
        end_ns=(start + 1) * 1_000_000_000,
        revision=1,
        status=status,
        reason="silence",
        sentiment=SentimentEstimate(value=1.5),
        transcript=Transcript(text=words, origin="given"),
    )


def content(**changes: object) -> ReportContent:
    fields = {
        "session": "s",
        "source": "clip.mp4",
        "results": [result(0)],
        "markers": [],
        "dispositions": {},
        "notices": [],
        "seconds": 1.0,
    }
    return ReportContent(**(fields | changes))


class Elements(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.title = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.names.append(tag)

    def handle_data(self, data: str) -> None:
        if self.names[-1:] == ["title"] and not self.title:
            self.title = data


def data_of(text: str) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_whatever_the_words_are_they_stay_text() -> None:
    plain = Elements(page(content()))
    text = page(
        content(
            source=NASTY,
            session=NASTY,
            results=[result(0, words=NASTY)],
            markers=[Marker(at_s=0, kind=NASTY, text=NASTY)],
            dispositions={NASTY: {NASTY: 1}},
            notices=[NASTY],
        )
    )
    assert Elements(text).names == plain.names
    assert data_of(text)["content"]["results"][0]["transcript"]["text"] == NASTY
    assert Elements(text).title.startswith("</script>")


def test_the_page_asks_nothing_of_any_server() -> None:
    text = page(content(), "data:video/mp4;base64,AA==")
    assert "default-src 'none'" in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_small_media_are_inside_and_large_ones_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "media.mp4").write_bytes(b"12345")
    media = PlayableMedia(tmp_path / "media.mp4", "video/mp4")
    assert write_page(content(), media, tmp_path / "a.html") is None
    assert (tmp_path / "a.html").stat().st_mode & 0o777 == 0o600
    assert data_of((tmp_path / "a.html").read_text())["media"] == "data:video/mp4;base64,MTIzNDU="
    monkeypatch.setattr(pages, "EMBEDDED_BYTES", 4)
    assert write_page(content(), media, tmp_path / "b c.html") == tmp_path / "b c.mp4"
    assert data_of((tmp_path / "b c.html").read_text())["media"] == "b%20c.mp4"
    assert (tmp_path / "b c.mp4").read_bytes() == b"12345"


def lines(path: Path, *results: Result) -> Path:
    path.write_bytes(b"".join(encode(Prediction(result=r)) + b"\n" for r in results))
    return path


def test_of_json_lines_the_newest_final_state_of_each_segment_is_shown(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "a.jsonl",
        result(2, status="provisional", words="one"),
        result(2, words="two"),
        result(0, words="zero"),
        result(2, status="amended", words="three"),
        result(4, kind="hole"),
        result(9, session="other"),
    )
    read, recording = content_of(path)
    assert recording is None
    assert [r.transcript.text for r in read.results if r.transcript] == ["zero", "three", "hello"]
    assert sorted(m.kind for m in read.markers) == ["amended", "hole"]
    assert read.seconds == 5
    assert "1 other sessions" in read.notices[0]


@pytest.mark.parametrize("text", ["", "{}\n", "no json\n", '{"version": 1}\n'])
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(InputError):
        content_of(path)
    with pytest.raises(InputError):
        content_of(tmp_path / "missing")
