from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch

from operators.circumplex import place_of
from operators.encoders.prosody import prosody
from operators.encoders.text import TEXT_DIM, TextEncoder
from operators.encoders.voice import VoicePooling, voice_dim
from operators.heads import Head
from operators.interface import EMOTIONS, AffectResult, SegmentInput, SpeechResult, SpeechStates, TranscriptResult
from operators.model import (
    AffectModel,
    AudioPart,
    EmotionReader,
    SentimentReader,
    TextPart,
    VideoPart,
    spoken_text,
)
from operators.model_description import EmotionHeadDescription, SentimentHeadDescription, ValenceMap
from stream.prediction import Subject
from stream.timeline.packets import Face, Faces, Word

SECOND = 1_000_000_000
FACE_DIM = 8
NOBODY = SpeechResult(states=None, transcript=None)
LABELS_8 = (*EMOTIONS, "calm")


class WideFaces:
    feature_dim = FACE_DIM

    def infer(self, crops: np.ndarray) -> np.ndarray:
        return np.zeros((len(crops), FACE_DIM), np.float32)


def emotion_reader(inputs: int, labels: tuple[str, ...], reliability: float, seed: int) -> EmotionReader:
    torch.manual_seed(seed)
    head = Head(inputs, len(labels), hidden=16)
    torch.nn.init.normal_(head.output.weight, std=2.0)
    about = EmotionHeadDescription(labels=labels, hidden=16, temperature=1.3, reliability=reliability)
    return EmotionReader(head=head.eval(), about=about)


@pytest.fixture(scope="module")
def model() -> AffectModel:
    """All three modalities, the heads untrained: what holds of them holds of any."""
    torch.manual_seed(0)
    sentiment = SentimentReader(head=Head(TEXT_DIM, 1).eval(), about=SentimentHeadDescription(half_width=1.5, level=0.9))
    return AffectModel(
        name="tiny",
        digest="0" * 64,
        licence="any",
        text=TextPart(encoder=TextEncoder(), emotion=emotion_reader(TEXT_DIM, EMOTIONS, 0.25, 1), sentiment=sentiment),
        audio=AudioPart(pooling=VoicePooling(2).eval(), emotion=emotion_reader(voice_dim(2), LABELS_8, 0.4, 2)),
        video=VideoPart(encoder=WideFaces(), emotion=emotion_reader(FACE_DIM, EMOTIONS, 0.5, 3)),
        sentiment_from_valence=ValenceMap(slope=2.0, half_width=2.5, level=0.9),
    )


def face(track: int, size: float, seed: int) -> Face:
    feature = np.random.default_rng(seed).standard_normal(FACE_DIM).astype(np.float32)
    crop = np.zeros((48, 48), np.uint8)
    return Face(
        track=track, score=1, box=(0, 0, size, size), landmarks=np.zeros((5, 2), np.float32), crop=crop, feature=feature
    )


def frame(sequence: int, *faces: Face) -> Faces:
    start_ns = sequence * SECOND // 5
    return Faces(stream="faces", sequence=sequence, start_ns=start_ns, end_ns=start_ns, faces=faces)


def word(text: str) -> Word:
    return Word(stream="transcript", sequence=0, start_ns=0, end_ns=SECOND, text=text)


SILENCE = SegmentInput(
    kind="silence",
    status="final",
    start_ns=0,
    end_ns=2 * SECOND,
    continues=False,
    audio_state="present",
    samples=np.zeros(32_000, np.int16),
    sample_mask=np.ones(32_000, np.bool_),
    speech=np.zeros(62, np.float32),
    speech_ns=None,
    video_state="absent",
    video_coverage=0.0,
    faces=(),
    text_state=None,
    words=(),
)


def heard(text: str | None = None, *, rejected: bool = False) -> SpeechResult:
    random = np.random.default_rng(5)
    states = random.standard_normal((80, 288)).astype(np.float32)
    layers = random.standard_normal((20, 1152)).astype(np.float32)
    transcript = None
    if text is not None:
        words = tuple(map(word, text.split()))
        transcript = TranscriptResult(words=words, origin="test", log_probability=-0.1, rejected=rejected)
    found = SpeechStates(start_ns=0, step_ns=24_000_000, states=states, layers=layers)
    return SpeechResult(states=found, transcript=transcript)


def with_speech(segment: SegmentInput) -> SegmentInput:
    samples = (3_000 * np.random.default_rng(1).standard_normal(32_000)).astype(np.int16)
    return msgspec.structs.replace(segment, kind="utterance", samples=samples, speech_ns=(0, 2 * SECOND))


def with_faces(segment: SegmentInput) -> SegmentInput:
    faces = tuple(frame(k, face(7, 0.4, k), face(8, 0.2, 50 + k)) for k in range(10))
    return msgspec.structs.replace(segment, video_state="present", video_coverage=1.0, faces=faces)


def only(model: AffectModel, segment: SegmentInput, speech: SpeechResult) -> AffectResult:
    (result,) = model.infer([(segment, speech)])
    return result


def same(left: AffectResult, right: AffectResult) -> bool:
    if left.emotions is None or right.emotions is None:
        return left.emotions is right.emotions and left.weights == right.weights
    return (
        left.emotions.tobytes() == right.emotions.tobytes()
        and left.weights == right.weights
        and left.sentiment == right.sentiment
        and (left.valence, left.arousal, left.subject) == (right.valence, right.arousal, right.subject)
    )


def test_where_nothing_says_anything_there_is_no_result(model: AffectModel) -> None:
    result = only(model, SILENCE, NOBODY)
    assert (result.sentiment, result.emotions, result.valence, result.arousal, result.subject) == (None,) * 5
    assert result.weights == {}


def test_silence_gives_sound_no_weight(model: AffectModel) -> None:
    assert only(model, with_faces(SILENCE), NOBODY).weights == {"video": 1.0}


@torch.inference_mode()
def head_alone(model: AffectModel, segment: SegmentInput, speech: SpeechResult, modality: str) -> np.ndarray:
    """What the head of a modality gives, called by itself."""
    if modality == "text":
        assert model._text is not None
        return model._text.emotion.probabilities(model._text.encoder.encode(["great"]))[0]
    if modality == "audio":
        assert model._audio is not None
        assert speech.states is not None
        spoken = torch.from_numpy(prosody(segment.samples))
        voice = model._audio.pooling(torch.from_numpy(speech.states.layers), spoken)
        return model._audio.emotion.probabilities(voice[None])[0]
    assert model._video is not None
    mean = np.mean([frame.faces[0].feature for frame in segment.faces], axis=0, dtype=np.float32)
    return model._video.emotion.probabilities(torch.from_numpy(mean)[None])[0]


@pytest.mark.parametrize(
    ("segment", "speech", "modality"),
    [
        (with_speech(SILENCE), heard(), "audio"),
        (with_faces(SILENCE), NOBODY, "video"),
        (msgspec.structs.replace(SILENCE, text_state="present", words=(word("great"),)), NOBODY, "text"),
    ],
    ids=["audio", "video", "text"],
)
def test_each_modality_alone_is_its_head(
    model: AffectModel, segment: SegmentInput, speech: SpeechResult, modality: str
) -> None:
    result = only(model, segment, speech)
    assert result.weights == {modality: 1.0}
    assert result.emotions is not None
    assert result.emotions.tobytes() == head_alone(model, segment, speech, modality).tobytes()
    assert result.emotions.sum() == pytest.approx(1.0, abs=1e-5)
    assert (result.valence, result.arousal) == place_of(result.emotions)


def test_all_three_have_weight_by_reliability_and_coverage(model: AffectModel) -> None:
    result = only(model, with_faces(with_speech(SILENCE)), heard("i love it"))
    total = 0.25 + 0.4 + 0.5
    assert result.weights == pytest.approx({"text": 0.25 / total, "audio": 0.4 / total, "video": 0.5 / total})
    assert result.subject == Subject(method="largest-face", track=7)


def test_what_was_not_heard_or_seen_takes_weight_away(model: AffectModel) -> None:
    segment = with_faces(with_speech(SILENCE))
    mask = segment.sample_mask.copy()
    mask[:16_000] = False
    half = only(model, msgspec.structs.replace(segment, sample_mask=mask), heard())
    assert half.weights["audio"] == pytest.approx(0.2 / 0.7)
    faces = tuple(frame(k, face(7, 0.4, k)) if k % 2 else frame(k) for k in range(10))
    assert only(model, msgspec.structs.replace(segment, faces=faces), heard()).weights["video"] == pytest.approx(0.25 / 0.65)


def test_a_row_is_byte_equal_whatever_its_neighbours_and_whenever_it_is_asked(model: AffectModel) -> None:
    batch = [
        (with_faces(with_speech(SILENCE)), heard("i love it")),
        (SILENCE, NOBODY),
        (with_faces(SILENCE), NOBODY),
        (with_speech(SILENCE), heard("what a terrible and utterly boring film that was")),
    ]
    together = model.infer(batch)
    for k, (segment, speech) in enumerate(batch):
        assert same(together[k], only(model, segment, speech))
    for again, first in zip(reversed(model.infer(batch[::-1])), together, strict=True):
        assert same(again, first)


def test_sentiment_is_of_the_words_where_there_are_any_else_of_the_valence_and_less_sure(model: AffectModel) -> None:
    spoken = only(model, with_faces(with_speech(SILENCE)), heard("i love it")).sentiment
    words_alone = msgspec.structs.replace(SILENCE, text_state="present", words=(word("i love it"),))
    assert spoken is not None
    assert spoken == only(model, words_alone, NOBODY).sentiment
    shown = only(model, with_faces(SILENCE), NOBODY)
    assert shown.sentiment is not None
    assert shown.valence is not None
    assert shown.sentiment.value == pytest.approx(2.0 * shown.valence)
    for estimate, width in ((spoken, 3.0), (shown.sentiment, 5.0)):
        assert estimate.low is not None
        assert estimate.high is not None
        assert -3 <= estimate.low <= estimate.value <= estimate.high <= 3
        assert estimate.high - estimate.low <= width + 1e-6


def test_given_words_switch_the_transcript_off_and_a_rejected_one_is_not_read() -> None:
    given = msgspec.structs.replace(SILENCE, text_state="present", words=(word("given"),))
    assert spoken_text(given, heard("heard")) == "given"
    assert spoken_text(msgspec.structs.replace(given, text_state="absent", words=()), heard("heard")) == ""
    assert spoken_text(SILENCE, heard("heard twice")) == "heard twice"
    assert spoken_text(SILENCE, heard("heard", rejected=True)) == ""
    assert spoken_text(SILENCE, NOBODY) == ""


def test_unfamiliar_features_make_less_sure_and_change_no_order() -> None:
    reader = emotion_reader(4, EMOTIONS, 0.5, 0)
    familiar = msgspec.structs.replace(reader.about, familiar=1.0)
    near, far = torch.tensor([[0.5, -0.5, 0.9, 0.1]]), torch.tensor([[3.0, -3.0, 4.0, 2.0]])
    with torch.inference_mode():
        plain = reader.probabilities(torch.cat([near, far]))
        careful = EmotionReader(head=reader.head, about=familiar).probabilities(torch.cat([near, far]))
    np.testing.assert_array_equal(careful[0], plain[0])
    assert careful[1].max() < plain[1].max()
    assert (careful[1].argsort() == plain[1].argsort()).all()


def test_calm_counts_as_neutral() -> None:
    reader = emotion_reader(4, LABELS_8, 0.5, 0)
    features = torch.randn(3, 4)
    with torch.inference_mode():
        eight = (reader.head(features) / 1.3).softmax(1).numpy()
        seven = reader.probabilities(features)
    np.testing.assert_allclose(seven[:, 0], eight[:, 0] + eight[:, 7], rtol=1e-5)
    np.testing.assert_allclose(seven[:, 1:], eight[:, 1:7], rtol=1e-5)
