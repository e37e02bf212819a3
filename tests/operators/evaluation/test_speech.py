from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from operators.datasets.ravdess import LABELS, read_samples
from operators.encoders.prosody import prosody
from operators.encoders.speech import SpeechEncoder
from operators.evaluation.as_segments import speech_segment
from operators.evaluation.judgement import JudgedClasses, figures_of
from operators.evaluation.speech import judge_voices, own_probabilities, read_voices
from operators.evaluation.voice_robustness import DEGRADATIONS
from operators.heads import Head
from operators.interface import EMOTIONS
from operators.model import AffectModel, EmotionReader
from operators.model_description import EmotionHeadDescription
from operators.training.speech_features import spoken_samples
from operators.voice_activity import SileroNetwork
from stream.errors import DatasetError, ModelFolderError
from stream.timeline.time import NS_PER_SAMPLE

HEADER = "path,actor,emotion,intensity,statement,seconds"
WORDS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
RATE = 16_000


def write_sound(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono")
        if len(samples):
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.sample_rate = RATE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_list(folder: Path, rows: list[str]) -> None:
    (folder / "clips.csv").write_text("\n".join([HEADER, *rows]) + "\n")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory, beckett: np.ndarray) -> Path:
    """Eight pieces of one voice as eight emotions of an actor who is not trained on; one of them silence."""
    folder = tmp_path_factory.mktemp("ravdess")
    rows = []
    for k, word in enumerate(WORDS):
        samples = beckett[k * RATE : (k + 2) * RATE].copy() if k != 7 else np.zeros(RATE, np.int16)
        write_sound(folder / "actor_21" / f"{word}.flac", samples)
        rows.append(f"actor_21/{word}.flac,21,{word},normal,01,2.0")
    write_list(folder, rows)
    return folder


def test_an_actor_who_is_neither_trained_nor_calibrated_on_is_of_the_test(recordings: Path, shipped: AffectModel) -> None:
    splits = judge_voices(read_voices(recordings), shipped)
    assert list(splits) == ["test"]
    split = splits["test"]
    judged, seven = split.judged, split.further["7"]
    assert isinstance(judged, JudgedClasses)
    assert isinstance(seven, JudgedClasses)
    assert [judged.labels[k] for k in judged.truth] == [
        "neutral", "calm", "joy", "sadness", "anger", "fear", "disgust", "surprise"
    ]  # fmt: skip
    assert [seven.labels[k] for k in seven.truth][:2] == ["neutral", "neutral"]
    np.testing.assert_allclose(judged.probabilities.sum(1), 1, atol=1e-5)
    calm, neutral = judged.labels.index("calm"), judged.labels.index("neutral")
    np.testing.assert_allclose(judged.probabilities[:, [calm, neutral]].sum(1), seven.probabilities[:, 0], atol=1e-6)
    assert split.counts["without_speech"] == 1
    assert split.items[0] == "actor_21/neutral.flac"
    assert list(split.further) == ["7", *DEGRADATIONS]
    assert {"unweighted_recall_7", "unweighted_recall_noise_0_db"} <= figures_of(split, resamples=3).keys()


def test_what_is_judged_is_what_was_trained_on(recordings: Path, shipped: AffectModel) -> None:
    judged = judge_voices(read_voices(recordings), shipped)["test"].judged
    assert isinstance(judged, JudgedClasses)
    part = shipped._audio
    assert part is not None
    encoder, network = SpeechEncoder(), SileroNetwork()
    for clip, probabilities in zip(read_voices(recordings)["test"], judged.probabilities, strict=True):
        samples = spoken_samples(read_samples(clip.path), network)
        segment, _ = speech_segment(read_samples(clip.path), network)
        first, last = (edge // NS_PER_SAMPLE for edge in segment.speech_ns or ())
        assert segment.samples[first:last].tobytes() == samples.tobytes()
        layers = torch.from_numpy(encoder.encode(samples, 0).layers)
        with torch.inference_mode():
            logits = part.emotion.head(part.pooling(layers, torch.from_numpy(prosody(samples)))[None])
        assert LABELS[probabilities.argmax()] == part.emotion.about.labels[int(logits.argmax())]


def test_what_is_said_of_a_recording_in_noise_depends_on_no_other_one(recordings: Path, shipped: AffectModel) -> None:
    some = read_voices(recordings)["test"][:3]
    said, turned = (judge_voices({"valid": clips}, shipped)["valid"].further for clips in (some, some[:0:-1]))
    for name in DEGRADATIONS:
        one, other = said[name], turned[name]
        assert isinstance(one, JudgedClasses)
        assert isinstance(other, JudgedClasses)
        np.testing.assert_allclose(one.probabilities[:0:-1], other.probabilities, atol=1e-5)


@pytest.mark.parametrize("familiar", [None, 0.2])
def test_a_heads_own_labels_add_up_to_what_is_published(familiar: float | None) -> None:
    torch.manual_seed(0)
    about = EmotionHeadDescription(labels=(*EMOTIONS, "calm"), temperature=1.7, reliability=0.5, familiar=familiar)
    reader = EmotionReader(head=Head(6, 8).eval(), about=about)
    with torch.inference_mode():
        features = torch.randn(5, 6)
        own, published = own_probabilities(reader, features), reader.probabilities(features)
        logits = reader.head(features)
    np.testing.assert_allclose(own[:, 1:7], published[:, 1:], atol=1e-6)
    np.testing.assert_allclose(own[:, 0] + own[:, 7], published[:, 0], atol=1e-6)
    assert (own.argmax(1) == logits.argmax(1).numpy()).all()
    if familiar is None:
        np.testing.assert_allclose(own, (logits / 1.7).softmax(1).numpy(), atol=1e-6)


def rows(**changes: str) -> list[str]:
    """A whole list, one recording of each emotion by actor 1."""
    return [f"a.flac,{changes.get('actor', '1')},{changes.get(word, word)},normal,01,1.0" for word in WORDS]


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ([], "no row"),
        (rows(actor="one"), "line 2.*actor one"),
        (rows(calm="bored"), "line 3.*bored"),
        (rows(calm="sad"), "split train.*no sample of calm"),
        ([line.replace("a.flac", "gone.flac") for line in rows()], r"gone\.flac"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, lines: list[str], named: str) -> None:
    write_sound(tmp_path / "a.flac", np.zeros(RATE, np.int16))
    write_list(tmp_path, lines)
    with pytest.raises(DatasetError, match=named):
        read_voices(tmp_path)


def test_a_folder_that_is_empty_or_none(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no clips\.csv"):
        read_voices(tmp_path)
    with pytest.raises(DatasetError, match="no folder"):
        read_voices(tmp_path / "gone")
    (tmp_path / "clips.csv").write_text("path,actor\na.flac,1\n")
    with pytest.raises(DatasetError, match="no column emotion"):
        read_voices(tmp_path)


def test_a_recording_without_a_sample_is_named(tmp_path: Path, shipped: AffectModel) -> None:
    write_sound(tmp_path / "a.flac", np.zeros(0, np.int16))
    write_list(tmp_path, rows())
    with pytest.raises(DatasetError, match=r"a\.flac"):
        judge_voices(read_voices(tmp_path), shipped)


def test_a_model_that_reads_no_voices_says_so(recordings: Path, shipped: AffectModel) -> None:
    deaf = AffectModel(name="words", digest="0" * 64, licence="any", text=shipped._text)
    with pytest.raises(ModelFolderError, match=r"model words.*voices"):
        judge_voices(read_voices(recordings), deaf)
