from __future__ import annotations

from pathlib import Path

import pytest

from deploy.session_parts import overhang
from stream.sources.settings import TranscriptSettings
from stream.sources.transcript import TranscriptSource
from stream.timeline.time import from_seconds


class Media:
    """A source that has been read up to somewhere."""

    def __init__(self, position_s: float, *, ended: bool) -> None:
        self.position_ns = from_seconds(position_s)
        self.ended = ended


@pytest.mark.parametrize(
    ("position_s", "ended", "told"),
    [(60, True, "60 s after the media, at 120 s"), (115, True, None), (130, True, None), (60, False, None)],
)
def test_words_long_after_the_media_are_told(tmp_path: Path, position_s: float, ended: bool, told: str | None) -> None:
    path = tmp_path / "a.vtt"
    path.write_text("WEBVTT\n\n00:00.000 --> 00:02.000\nhello\n\n01:58.000 --> 02:00.000\ngoodbye\n")
    transcript = TranscriptSource(path)
    while transcript.read():
        pass
    notice = overhang(Media(position_s, ended=ended), transcript, TranscriptSettings())  # type: ignore[arg-type]
    assert (notice is None) if told is None else (notice is not None and told in notice)
