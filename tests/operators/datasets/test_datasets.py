from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from operators.datasets.fer2013 import read_fer2013
from operators.datasets.meld import SENTIMENTS, read_meld
from operators.datasets.mosi import as_written, read_mosi
from operators.datasets.ravdess import LABELS, TRAIN_ACTORS, VALID_ACTORS, read_ravdess, read_samples
from operators.interface import EMOTIONS
from stream.errors import DatasetError

LABEL_NAMES = np.array(["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"])


def write_faces(folder: Path, **changes: np.ndarray) -> None:
    images = np.arange(5 * 48 * 48, dtype=np.int64).reshape(5, 48, 48).astype(np.uint8)
    images[3] = 7
    arrays = {
        "images": images,
        "labels": np.array([0, 3, 4, 5, 6], np.uint8),
        "split": np.array([0, 0, 1, 0, 0], np.uint8),
        "label_names": LABEL_NAMES,
        "split_names": np.array(["train", "valid"]),
    }
    np.savez(folder / "faces48.npz", **(arrays | changes))


def test_fer2013_in_the_published_order_without_flat_pictures(tmp_path: Path) -> None:
    write_faces(tmp_path)
    train, valid = read_fer2013(tmp_path, "train"), read_fer2013(tmp_path, "valid")
    assert [EMOTIONS[k] for k in train.emotions] == ["anger", "joy", "surprise"]
    assert [EMOTIONS[k] for k in valid.emotions] == ["neutral"]
    assert train.images.shape == (3, 48, 48)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"label_names": np.array([*LABEL_NAMES[:6], "bored"])}, "bored"),
        ({"split_names": np.array(["train", "test"])}, "split"),
        ({"images": np.zeros((5, 40, 40), np.uint8)}, "40"),
    ],
)
def test_fer2013_says_what_is_wrong(tmp_path: Path, changes: dict[str, np.ndarray], named: str) -> None:
    write_faces(tmp_path, **changes)
    with pytest.raises(DatasetError, match=named):
        read_fer2013(tmp_path, "valid")


def write_tone(path: Path, rate: int) -> np.ndarray:
    samples = (8_000 * np.sin(np.arange(rate) / 20)).astype(np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return samples


def write_clips(folder: Path, rows: list[str]) -> None:
    (folder / "clips.csv").write_text("\n".join(["path,actor,emotion,intensity,statement,seconds", *rows]) + "\n")


def test_ravdess_takes_the_actors_asked_for(tmp_path: Path) -> None:
    samples = write_tone(tmp_path / "a.flac", 16_000)
    write_clips(tmp_path, ["a.flac,01,calm,normal,01,1.0", "a.flac,02,happy,normal,01,1.0", "gone.flac,03,sad,normal,01,1.0"])
    clips = read_ravdess(tmp_path, (1, 2))
    assert [(clip.actor, LABELS[clip.emotion]) for clip in clips] == [(1, "calm"), (2, "joy")]
    np.testing.assert_array_equal(read_samples(clips[0].path), samples)


@pytest.mark.parametrize(
    ("rows", "actors", "named"),
    [
        (["a.flac,01,bored,normal,01,1.0"], (1,), "line 2: found label bored, expected neutral, happy, .*disgust"),
        (["a.flac,one,calm,normal,01,1.0"], (1,), "line 2: found actor one, expected a number"),
        (["a.flac,01"], (1,), "line 2: found no emotion"),
        (["../a.flac,01,calm,normal,01,1.0"], (1,), r"line 2: found path \.\./a\.flac, expected a path inside"),
        (["/gone/a.flac,01,calm,normal,01,1.0"], (1,), "line 2: found path /gone/a.flac, expected a path inside"),
        (["a.flac,01,calm,normal,01,1.0"], (1, 2), "actor 2"),
        (["gone.flac,01,calm,normal,01,1.0"], (1,), "gone.flac"),
    ],
)
def test_ravdess_says_what_is_wrong(tmp_path: Path, rows: list[str], actors: tuple[int, ...], named: str) -> None:
    write_tone(tmp_path / "a.flac", 16_000)
    write_clips(tmp_path, rows)
    with pytest.raises(DatasetError, match=named):
        read_ravdess(tmp_path, actors)


def test_a_recording_of_another_rate_is_refused(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.flac", 22_050)
    with pytest.raises(DatasetError, match="22050"):
        read_samples(tmp_path / "a.flac")
    (tmp_path / "b.wav").write_text("no sound")
    with pytest.raises(DatasetError, match=r"recording .*b\.wav: found Invalid data found when processing input$"):
        read_samples(tmp_path / "b.wav")


@pytest.mark.parametrize(
    ("capitals", "written"),
    [
        ("I LOVED IT", "i loved it"),
        ("IT DOESNT WORK AND I CANT SAY", "it doesn't work and i can't say"),
        ("THEYRE BAD BUT IM GLAD", "they're bad but i'm glad"),
        ("WELL WE WERE ILL ITS SCORE", "well we were ill its score"),
        ("HES FINE SHES NOT", "he's fine she's not"),
        ("COULDVE BEEN", "could've been"),
    ],
)
def test_mosi_as_a_transcriber_writes_it(capitals: str, written: str) -> None:
    assert as_written(capitals) == written


def test_mosi_reads_its_split_and_refuses_impossible_labels(tmp_path: Path) -> None:
    table = tmp_path / "segments.csv"
    header = "id,video,clip_no,start,end,text,label,split\n"
    table.write_text(header + "a_1,a,1,0,1,FINE,1.5,train\nb_1,b,1,0,1,BAD,-2,valid\n")
    opinions = read_mosi(tmp_path, "valid")
    assert (opinions.texts, opinions.videos, opinions.sentiment.tolist()) == (["bad"], ["b"], [-2.0])
    table.write_text(header + "a_1,a,1,0,1,FINE,4.5,train\n")
    with pytest.raises(DatasetError, match=r"line 2.*4\.5"):
        read_mosi(tmp_path, "train")


def test_meld_reads_its_table_and_refuses_unknown_emotions(tmp_path: Path) -> None:
    table = tmp_path / "dev_sent_emo.csv"
    table.write_text("Sr No.,Utterance,Emotion\n1,It’s on,joy\n2,No,fear\n", encoding="utf-8")
    found = read_meld(tmp_path, "dev")
    assert found.texts == ["It's on", "No"]
    assert [EMOTIONS[k] for k in found.emotions] == ["joy", "fear"]
    assert (found.sentiments.tolist(), len(set(found.dialogues))) == ([-1, -1], 2)
    table.write_text("Utterance,Emotion,Sentiment,Dialogue_ID\nOn,joy,positive,7\nNo,fear,negative,7\n")
    found = read_meld(tmp_path, "dev")
    assert [SENTIMENTS[k] for k in found.sentiments] == ["positive", "negative"]
    assert found.dialogues.tolist() == [7, 7]
    table.write_text("Utterance,Emotion,Sentiment\nOn,joy,mixed\n")
    with pytest.raises(DatasetError, match="line 2"):
        read_meld(tmp_path, "dev")
    table.write_text("Sr No.,Utterance,Emotion\n1,Oh,boredom\n")
    with pytest.raises(DatasetError, match="line 2"):
        read_meld(tmp_path, "dev")


TABLES = {
    "clips.csv": ("path,actor,emotion\na.flac,1,calm\n", lambda folder: read_ravdess(folder, (1,))),
    "segments.csv": ("text,label,video,split\nFINE,1,v,train\n", lambda folder: read_mosi(folder, "train")),
    "dev_sent_emo.csv": ("Utterance,Emotion\nFine,joy\n", lambda folder: read_meld(folder, "dev")),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_is_none_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    content, read = TABLES[name]
    write_tone(tmp_path / "a.flac", 16_000)
    # As spreadsheets save it.
    (tmp_path / name).write_text(f"\ufeff{content}", encoding="utf-8")
    read(tmp_path)
    header, row = content.splitlines()
    columns = header.split(",")
    for bad, named in (
        ("", "an empty file"),
        (f"{header}\n", "no row"),
        ("\n".join(line.rsplit(",", 1)[0] for line in (header, row)), f"no column {columns[-1]}"),
        (f"{header}\n{row.replace('F', 'é').replace('a.', 'é.')}", "UTF-8"),
        (f"{header}\n{'a' * 200_000},1,1,1\n", "field larger"),
    ):
        (tmp_path / name).write_text(bad, encoding="latin-1")
        with pytest.raises(DatasetError, match=named) as told:
            read(tmp_path)
        assert name in str(told.value)
        assert "\n" not in str(told.value)


def test_missing_files_are_named(tmp_path: Path) -> None:
    for read, named in (
        (lambda: read_fer2013(tmp_path, "train"), "faces48.npz"),
        (lambda: read_ravdess(tmp_path, (1,)), "clips.csv"),
        (lambda: read_mosi(tmp_path, "train"), "segments.csv"),
        (lambda: read_meld(tmp_path, "dev"), "dev_sent_emo.csv"),
    ):
        with pytest.raises(DatasetError, match=named):
            read()


def test_the_real_data_sets(shared_data: Path) -> None:
    faces = read_fer2013(shared_data / "fer2013", "valid")
    assert set(faces.emotions) == set(range(7))
    train = read_ravdess(shared_data / "ravdess", TRAIN_ACTORS)
    valid = read_ravdess(shared_data / "ravdess", VALID_ACTORS)
    assert (len(train), len(valid)) == (840, 240)
    assert {clip.actor for clip in train}.isdisjoint(clip.actor for clip in valid)
    opinions, opinions_valid = read_mosi(shared_data / "mosi", "train"), read_mosi(shared_data / "mosi", "valid")
    assert (len(opinions.texts), len(opinions_valid.texts)) == (1284, 229)
    assert set(opinions.videos).isdisjoint(opinions_valid.videos)
    assert (len(read_meld(shared_data / "meld", "train").texts), len(read_meld(shared_data / "meld", "dev").texts)) == (
        9989,
        1109,
    )
