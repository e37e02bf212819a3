"""The weights that ship, on validation rows and through the very model that runs live."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from operators.datasets.fer2013 import read_fer2013
from operators.datasets.mosi import read_mosi
from operators.datasets.ravdess import LABELS, VALID_ACTORS, read_ravdess, read_samples
from operators.encoders.speech import SpeechEncoder
from operators.evaluation.metrics import unweighted_average_recall
from operators.interface import EMOTIONS, AffectResult, SegmentInput, SpeechResult
from operators.model import AffectModel
from operators.model_description import read_description
from operators.model_folder import DEFAULT_MODEL, load_model
from operators.training.speech_features import spoken_samples
from operators.voice_activity import SileroNetwork
from stream.timeline.packets import Face, Faces, Word
from stream.timeline.time import NS_PER_SAMPLE

NOTHING_HEARD = SpeechResult(states=None, transcript=None)


@pytest.fixture(scope="module")
def model() -> AffectModel:
    return load_model()


def segment(*, samples: np.ndarray | None = None, text: str | None = None, faces: tuple[Faces, ...] = ()) -> SegmentInput:
    sound = np.zeros(16_000, np.int16) if samples is None else samples
    end_ns = len(sound) * NS_PER_SAMPLE
    words = () if text is None else (Word(stream="text", sequence=0, start_ns=0, end_ns=end_ns, text=text),)
    return SegmentInput(
        kind="utterance",
        status="final",
        start_ns=0,
        end_ns=end_ns,
        continues=False,
        audio_state="present",
        samples=sound,
        sample_mask=np.ones(len(sound), np.bool_),
        speech=np.ones(len(sound) // 512, np.float32),
        speech_ns=(0, end_ns) if samples is not None else None,
        video_state="present" if faces else "absent",
        video_coverage=float(bool(faces)),
        faces=faces,
        text_state="present" if words else None,
        words=words,
    )


def named(result: AffectResult) -> int:
    assert result.emotions is not None
    return int(result.emotions.argmax())


def test_faces_of_fer2013(model: AffectModel, shared_data: Path) -> None:
    valid = read_fer2013(shared_data / "fer2013", "valid")
    some = slice(None, None, 3)
    images, truth = valid.images[some], valid.emotions[some]
    batch = []
    for image, feature in zip(images, model.face_encoder.infer(images), strict=True):
        landmarks = np.zeros((5, 2), np.float32)
        face = Face(track=1, score=1, box=(0, 0, 1, 1), landmarks=landmarks, crop=image, feature=feature)
        frame = Faces(stream="faces", sequence=0, start_ns=0, end_ns=0, faces=(face,))
        batch.append((segment(faces=(frame,)), NOTHING_HEARD))
    predicted = np.array([named(result) for result in model.infer(batch)])
    assert (predicted == truth).mean() >= 0.55


def test_voices_of_ravdess(model: AffectModel, shared_data: Path) -> None:
    about = read_description(DEFAULT_MODEL).audio
    assert about is not None
    encoder, network = SpeechEncoder(), SileroNetwork()
    clips = read_ravdess(shared_data / "ravdess", VALID_ACTORS)
    truth = np.array([EMOTIONS.index(LABELS[clip.emotion].replace("calm", "neutral")) for clip in clips])
    predicted = []
    for clip in clips:
        samples = spoken_samples(read_samples(clip.path), network)
        heard = SpeechResult(states=encoder.encode(samples, 0), transcript=None)
        (result,) = model.infer([(segment(samples=samples), heard)])
        assert result.weights == {"audio": 1.0}
        predicted.append(named(result))
    low, high = (about.metrics[f"ravdess_valid_unweighted_recall_7_{edge}"] for edge in ("low", "high"))
    assert low <= unweighted_average_recall(truth, np.array(predicted)) <= high


def test_opinions_of_mosi(model: AffectModel, shared_data: Path) -> None:
    valid = read_mosi(shared_data / "mosi", "valid")
    results = model.infer([(segment(text=text), NOTHING_HEARD) for text in valid.texts])
    estimates = [result.sentiment for result in results if result.sentiment is not None]
    values = np.array([estimate.value for estimate in estimates])
    covered = [e.low <= truth <= e.high for e, truth in zip(estimates, valid.sentiment, strict=True) if e.low and e.high]
    assert np.abs(values - valid.sentiment).mean() <= 1.0
    assert np.mean(covered) == pytest.approx(0.9, abs=0.03)


def test_sentences_that_anybody_would_place(model: AffectModel) -> None:
    texts = ["I love this, it is wonderful!", "The train leaves at six.", "This is awful and I hate it."]
    results = model.infer([(segment(text=text), NOTHING_HEARD) for text in texts])
    sentiments = [result.sentiment.value for result in results if result.sentiment is not None]
    valences = [result.valence for result in results if result.valence is not None]
    assert sentiments == sorted(sentiments, reverse=True)
    assert valences == sorted(valences, reverse=True)
    assert sentiments[0] > 0.8
    assert sentiments[2] < -0.8
    assert [named(result) for result in results[:2]] == [EMOTIONS.index("joy"), EMOTIONS.index("neutral")]
