from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.evaluation.clips import ClipOpinion, Manifest, judged_clips, pooled, read_manifest
from operators.evaluation.judgement import JudgedClasses, JudgedSentiment
from operators.interface import EMOTIONS
from stream.errors import DatasetError
from stream.prediction import Result, SentimentEstimate

SECOND = 1_000_000_000


def manifest(folder: Path, content: str) -> Path:
    for name in ("a.mp4", "b.mp4", "a.vtt"):
        (folder / name).write_bytes(b"")
    path = folder / "manifest.csv"
    path.write_text(content)
    return path


def result(start_s: float, end_s: float, emotion: str, sentiment: float | None = None, **changes: Any) -> Result:
    said = None if sentiment is None else SentimentEstimate(value=sentiment, low=sentiment - 1, high=sentiment + 1, level=0.9)
    fields: dict[str, Any] = {"kind": "utterance", "status": "final", "revision": 1, "reason": "silence"} | changes
    return Result(
        session="clip",
        start_ns=round(start_s * SECOND),
        end_ns=round(end_s * SECOND),
        sentiment=said,
        emotions={name: 1.0 if name == emotion else 0.0 for name in EMOTIONS},
        **fields,
    )


def share(opinion: ClipOpinion, emotion: str) -> float:
    assert opinion.emotions is not None
    return float(opinion.emotions[EMOTIONS.index(emotion)])


def test_labels_are_emotions_or_sentiments(tmp_path: Path) -> None:
    emotions = read_manifest(manifest(tmp_path, "media,label\na.mp4,joy\nb.mp4,anger\n"))
    assert not emotions.sentiment
    assert [EMOTIONS[int(clip.truth)] for clip in emotions.clips] == ["joy", "anger"]
    assert {clip.split for clip in emotions.clips} == {"clips"}
    given = read_manifest(manifest(tmp_path, "path,transcript,label,split\na.mp4,a.vtt,-1.5,dev\nb.mp4,,2,test\n"))
    assert given.sentiment
    assert [clip.truth for clip in given.clips] == [-1.5, 2.0]
    assert [clip.transcript for clip in given.clips] == [tmp_path / "a.vtt", None]
    assert [clip.split for clip in given.clips] == ["dev", "test"]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("media,truth\na.mp4,joy\n", "no column label"),
        ("file,label\na.mp4,joy\n", "no column media"),
        ("media,label\n", "no row"),
        ("media,label\nc.mp4,joy\n", r"line 2.*no file .*c\.mp4"),
        ("media,transcript,label\na.mp4,c.vtt,joy\n", r"line 2.*no file .*c\.vtt"),
        ("media,label\na.mp4,boredom\n", "line 2.*boredom.*-3 to 3, or one of neutral"),
        ("media,label\na.mp4,joy\nb.mp4,2\n", "line 3.*label 2"),
        ("media,label\na.mp4,2\nb.mp4,joy\n", "line 3.*label joy"),
        ("media,label\na.mp4,4\n", "line 2.*label 4"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: str, named: str) -> None:
    with pytest.raises(DatasetError, match=named):
        read_manifest(manifest(tmp_path, content))


def test_segments_count_by_their_length_and_only_what_was_spoken() -> None:
    opinion = pooled(
        [
            result(0, 10, "fear", 0.0, kind="silence"),
            result(10, 13, "joy", 2.0),
            result(13, 14, "anger", -2.0),
        ]
    )
    assert share(opinion, "joy") == pytest.approx(0.75)
    assert share(opinion, "fear") == 0
    assert opinion.sentiment == pytest.approx((1.0, 0.0, 2.0, 0.9))


def test_where_nobody_speaks_all_segments_count() -> None:
    opinion = pooled([result(0, 2, "joy", kind="silence"), result(2, 4, "fear", kind="silence")])
    assert share(opinion, "joy") == share(opinion, "fear") == pytest.approx(0.5)
    assert opinion.sentiment is None


def test_the_newest_revision_counts_and_no_provisional() -> None:
    opinion = pooled(
        [
            result(0, 1, "fear", status="provisional"),
            result(0, 2, "joy", revision=2),
            result(0, 2, "anger", revision=3, status="amended"),
            result(5, 6, "fear", revision=1, status="provisional"),
        ]
    )
    assert share(opinion, "anger") == 1


def test_nothing_said_is_no_opinion_and_counts_as_undecided(tmp_path: Path) -> None:
    assert pooled([]).emotions is None
    nothing = pooled([Result(session="c", kind="hole", start_ns=0, end_ns=1, revision=0, status="final", reason="end")])
    assert nothing.emotions is None
    read = read_manifest(manifest(tmp_path, "media,label\na.mp4,joy\nb.mp4,anger\n"))
    split = judged_clips(read, [pooled([result(0, 1, "joy")]), nothing])["clips"]
    assert isinstance(split.judged, JudgedClasses)
    assert split.counts["unanswered"] == 1
    assert split.judged.right.tolist() == [True, False]
    np.testing.assert_allclose(split.judged.probabilities[1], 1 / 7)


def test_sentiment_by_split(tmp_path: Path) -> None:
    read: Manifest = read_manifest(manifest(tmp_path, "media,label,split\na.mp4,1,dev\nb.mp4,-2,test\n"))
    splits = judged_clips(read, [pooled([result(0, 1, "joy", 1.5)]), pooled([])])
    dev, test = splits["dev"].judged, splits["test"].judged
    assert isinstance(dev, JudgedSentiment)
    assert isinstance(test, JudgedSentiment)
    assert (dev.predicted.tolist(), dev.level) == ([1.5], 0.9)
    assert (test.predicted.tolist(), splits["test"].counts["unanswered"]) == ([0.0], 1)
