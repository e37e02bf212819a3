from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from operators.evaluation.judgement import JudgedClasses, JudgedSentiment, figures_of, plain_figures
from operators.evaluation.text import as_transcribed, judge_texts, read_texts
from operators.interface import EMOTIONS
from operators.model import AffectModel
from stream.errors import DatasetError, ModelFolderError

MOSI = "id,video,clip_no,start,end,text,label,split\n"
MELD = "Sr No.,Utterance,Speaker,Emotion,Sentiment\n"


def write(folder: Path, content: str, name: str = "segments.csv") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def meld_rows(emotions: tuple[str, ...] = EMOTIONS) -> str:
    return MELD + "".join(f"{k},I feel {emotion},Joey,{emotion},neutral\n" for k, emotion in enumerate(emotions))


def test_mosi_by_its_header_and_its_column_of_splits(tmp_path: Path, shipped: AffectModel) -> None:
    path = write(
        tmp_path, MOSI + "a,a,1,0,1,I LOVED IT,3,test\nb,b,1,0,1,IT WAS AWFUL,-2.5,dev\nc,c,1,0,1,I HATED IT,-3,test\n"
    )
    splits = judge_texts(read_texts(path), shipped)
    assert list(splits) == ["test", "dev"]
    judged = splits["test"].judged
    assert isinstance(judged, JudgedSentiment)
    assert judged.truth.tolist() == [3.0, -3.0]
    assert judged.predicted[0] > 0 > judged.predicted[1]
    assert splits["test"].items == ["I loved it.", "I hated it."]
    assert judged.level == 0.9
    assert (judged.low <= judged.predicted).all()


def test_mosi_is_also_judged_in_its_capitals(tmp_path: Path, shipped: AffectModel) -> None:
    path = write(tmp_path, MOSI + "a,a,1,0,1,I LOVED IT,3,test\nb,b,1,0,1,SO BORING,-2.5,test\n")
    split = judge_texts(read_texts(path), shipped)["test"]
    plain = plain_figures(figures_of(split, resamples=5))
    assert {"mae", "mae_capitals", "acc2_non0_capitals", "f1_has0"} <= plain.keys()
    capitals = split.further["capitals"]
    assert isinstance(capitals, JudgedSentiment)
    assert capitals.truth.tolist() == [3.0, -2.5]


def test_meld_by_its_header_and_its_name(tmp_path: Path, shipped: AffectModel) -> None:
    splits = judge_texts(read_texts(write(tmp_path, meld_rows(), "test_sent_emo.csv")), shipped)
    assert list(splits) == ["test"]
    judged = splits["test"].judged
    assert isinstance(judged, JudgedClasses)
    assert judged.labels == EMOTIONS
    assert judged.truth.tolist() == list(range(7))
    np.testing.assert_allclose(judged.probabilities.sum(1), 1, atol=1e-5)


def test_a_text_is_judged_as_the_pipeline_judges_it(tmp_path: Path, shipped: AffectModel) -> None:
    path = write(tmp_path, MOSI + "a,a,1,0,1,I DONT KNOW,0,test\nb,b,1,0,1,GREAT,1,test\n")
    together = judge_texts(read_texts(path), shipped)["test"].judged
    alone = judge_texts(read_texts(write(tmp_path, MOSI + "b,b,1,0,1,GREAT,1,test\n")), shipped)["test"].judged
    assert isinstance(together, JudgedSentiment)
    assert isinstance(alone, JudgedSentiment)
    assert together.predicted[1] == alone.predicted[0]
    assert as_transcribed("I DONT KNOW") == "I don't know."


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("id,text,label\na,FINE,1\n", "no column split"),
        ("id,text,split\na,FINE,test\n", "no column label"),
        ("Sr No.,Utterance\n1,Fine\n", "no column Emotion"),
        ("a,b\n1,2\n", "text, label, split.*Utterance, Emotion"),
        (MOSI + "a,a,1,0,1,FINE,3.5,test\n", "line 2.*3.5.*-3 to 3"),
        (MOSI + "a,a,1,0,1,FINE,bad,test\n", "line 2.*bad"),
        (meld_rows((*EMOTIONS, "boredom")), "line 9.*boredom"),
        (meld_rows(EMOTIONS[:-1]), "no sample of disgust"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: str, named: str) -> None:
    with pytest.raises(DatasetError, match=named):
        read_texts(write(tmp_path, content))


def test_a_model_that_reads_no_text_says_so(tmp_path: Path, shipped: AffectModel) -> None:
    deaf = AffectModel(name="faces", digest="0" * 64, licence="any", video=shipped._video)
    path = write(tmp_path, MOSI + "a,a,1,0,1,FINE,1,test\n")
    with pytest.raises(ModelFolderError, match=r"model faces.*text"):
        judge_texts(read_texts(path), deaf)
