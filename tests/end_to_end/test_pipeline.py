from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import deploy
from deploy.inline import LoadedOperators, open_session
from stream.errors import SourceCutError
from stream.prediction import Prediction, Result
from stream.timeline.time import NS_PER_SECOND


def predict(source: Path, operators: LoadedOperators, **options: object) -> list[Prediction]:
    with open_session(str(source), operators=operators, session="test", **options) as session:  # type: ignore[arg-type]
        return list(session)


def results(predictions: list[Prediction]) -> list[Result]:
    return [prediction.result for prediction in predictions]


def finals(predictions: list[Prediction]) -> list[Result]:
    return [result for result in results(predictions) if result.status == "final"]


def words(results: list[Result]) -> list[str]:
    text = " ".join(result.transcript.text for result in results if result.transcript)
    return re.findall(r"[a-z']+", text.lower())


def test_a_clip_becomes_tiled_segments_with_all_three_modalities(talking_clip: Path, operators: LoadedOperators) -> None:
    given = finals(predict(talking_clip, operators))
    assert given[0].start_ns == 0
    assert all(left.end_ns == right.start_ns for left, right in pairwise(given))
    spoken = [result for result in given if result.kind == "utterance"]
    assert "best of times" in " ".join(words(spoken))
    for result in spoken:
        assert {name for name, report in result.modalities.items() if report.weight > 0} == {"text", "audio", "video"}
        assert result.sentiment is not None
        assert result.emotions is not None
        assert sum(result.emotions.values()) == pytest.approx(1)
        assert result.subject is not None
        assert result.subject.method == "largest-face"
    assert all(result.modalities["text"].state == "absent" for result in given if result.kind == "silence")


def test_two_runs_give_the_same_results_to_the_byte(talking_clip: Path, operators: LoadedOperators) -> None:
    others = LoadedOperators()  # the first ones remember texts, which would answer the second run
    first, second = results(predict(talking_clip, operators)), results(predict(talking_clip, others))
    others.close()
    assert first == second


def test_provisionals_come_before_their_final_and_only_grow(talking_clip: Path, operators: LoadedOperators) -> None:
    by_segment: dict[int, list[Result]] = {}
    for result in results(predict(talking_clip, operators)):
        by_segment.setdefault(result.start_ns, []).append(result)
    assert any(len(revisions) > 2 for revisions in by_segment.values())
    for revisions in by_segment.values():
        assert [r.status for r in revisions] == ["provisional"] * (len(revisions) - 1) + ["final"]
        assert all(left.revision < right.revision and left.end_ns <= right.end_ns for left, right in pairwise(revisions))


def test_what_was_measured_is_real(talking_clip: Path, operators: LoadedOperators) -> None:
    for prediction in predict(talking_clip, operators):
        latency_ms = prediction.measured.latency_ms
        assert sum(ms for stage, ms in latency_ms.items() if stage != "total") <= latency_ms["total"]
        assert prediction.measured.lag_ms is None
        if prediction.result.kind == "utterance" and prediction.result.status == "provisional":
            assert latency_ms["speech"] > 0
            assert latency_ms["transcription"] > 0


def test_every_packet_is_accounted_for(talking_clip: Path, operators: LoadedOperators) -> None:
    with open_session(str(talking_clip), operators=operators) as session:
        count = sum(1 for _ in session)
    summary = session.summary
    assert sum(summary.revisions.values()) == count
    assert summary.cut is None
    for counts in summary.dispositions.values():
        assert counts.pending == 0
        assert counts.received == counts.used + sum(counts.dropped.values()) + counts.late + counts.unclaimed


def test_sessions_beside_each_other_do_not_change_each_other(talking_clip: Path, operators: LoadedOperators) -> None:
    alone = results(predict(talking_clip, operators))
    with (
        open_session(str(talking_clip), operators=operators, session="test") as left,
        open_session(str(talking_clip), operators=operators, session="test") as right,
    ):
        pairs = list(zip(left, right, strict=True))
    assert [p.result for p, _ in pairs] == alone
    assert [p.result for _, p in pairs] == alone


def test_given_words_replace_the_transcriber(talking_clip: Path, operators: LoadedOperators, tmp_path: Path) -> None:
    transcript = tmp_path / "words.vtt"
    transcript.write_text(
        "WEBVTT\n\n00:00.500 --> 00:04.000\nthis is a wonderful day\n\n00:05.000 --> 00:07.000\nand so is this\n"
    )
    given = finals(predict(talking_clip, operators, transcript=str(transcript), segments="lines"))
    lines = [result for result in given if result.kind == "line"]
    assert [(r.start_ns / NS_PER_SECOND, r.end_ns / NS_PER_SECOND) for r in lines] == [(0.5, 4.0), (5.0, 7.0)]
    assert [r.transcript.text for r in lines if r.transcript] == ["this is a wonderful day", "and so is this"]
    assert {r.transcript.origin for r in lines if r.transcript} == {"given"}
    assert all(word.estimated for r in lines if r.transcript for word in r.transcript.words)


def test_fixed_windows_transcribe_only_where_somebody_speaks(talking_clip: Path, operators: LoadedOperators) -> None:
    given = finals(predict(talking_clip, operators, segments="windows"))
    assert [r.start_ns for r in given] == [2 * k * NS_PER_SECOND for k in range(len(given))]
    assert "times" in words(given)


def test_sound_alone_and_picture_alone_run(
    operators: LoadedOperators, write_media: Callable[..., Path], tmp_path: Path
) -> None:
    sound = finals(predict(write_media(tmp_path / "sound.wav", video=False), operators))
    assert {r.modalities["video"].absence for r in sound} == {"not-declared"}
    picture = finals(predict(write_media(tmp_path / "picture.mkv", audio=False), operators))
    assert {r.modalities["audio"].absence for r in picture} == {"not-declared"}
    assert [r.end_ns for r in picture] == [2 * NS_PER_SECOND, 3 * NS_PER_SECOND]


def test_deploy_analyze_is_the_way_in_from_python(talking_clip: Path, operators: LoadedOperators) -> None:
    given = results(list(deploy.analyze(str(talking_clip), operators=operators, session="test", provisional=False)))
    assert {r.status for r in given} == {"final"}
    assert given == finals(predict(talking_clip, operators))


def test_from_python_a_cut_clip_raises_after_its_predictions(
    operators: LoadedOperators, write_media: Callable[..., Path], tmp_path: Path
) -> None:
    clip = write_media(tmp_path / "clip.mkv", seconds=4)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    given: list[Prediction] = []
    with pytest.raises(SourceCutError, match=r"clip\.mkv"):
        given.extend(deploy.analyze(str(clip), operators=operators))
    assert given


def test_real_time_and_fast_give_equal_results_on_the_real_clip(shared_data: Path, operators: LoadedOperators) -> None:
    clip = shared_data / "clips" / "obama_speech.mp4"
    fast = predict(clip, operators)
    others = LoadedOperators()  # the first ones remember texts, which would answer the second run
    real = predict(clip, others, realtime=True)
    others.close()
    assert results(fast) == results(real)
    lags_ms = [p.measured.lag_ms for p in real]
    assert all(lag_ms is not None for lag_ms in lags_ms)
    # Nothing is known before it happened: only what is decided at a provisional's own end may be as early as that.
    assert np.min([lag_ms for lag_ms in lags_ms if lag_ms is not None]) > -1000
    heard = words(finals(fast))
    assert heard[:8] == ["today", "after", "two", "years", "of", "negotiations", "the", "united"]


@pytest.mark.parametrize(("clip", "sentence"), [("bbaf2n", "bin blue at f two now"), ("swwp2s", "set white with p two soon")])
def test_grid_clips_say_their_sentence(clip: str, sentence: str, shared_data: Path, operators: LoadedOperators) -> None:
    path = next((shared_data / "clips").glob(f"*{clip}.mpg"))
    given = finals(predict(path, operators))
    heard = words(given)
    hits = [word for word in sentence.split() if word in heard]
    assert len(hits) >= 3, heard
    assert {r.modalities["video"].faces_seen for r in given if r.kind == "utterance"} == {1}
