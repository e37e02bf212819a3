from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import pytest

from deploy.session.predicting import Predictor, SpeechBatcher
from operators.batching import Batcher
from operators.interface import EMOTIONS, AffectResult, SegmentInput, SpeechResult, SpeechStates, TranscriptResult
from stream.errors import OperatorError
from stream.prediction import Prediction, SentimentEstimate, Subject
from stream.timeline.packets import Modality, Word
from stream.timeline.segments import Revision, SegmentKind, Slice
from stream.timeline.settings import UtteranceSettings
from stream.timeline.time import NS_PER_SECOND

WAIT_S = 10


class Model:
    name, digest, licence, device = "model", "d1", "research", "cpu"
    licences: Mapping[str, str] = {"text.safetensors": "research (MELD: GPL-3.0)"}


def word(text: str, start_ns: int = 0, end_ns: int = NS_PER_SECOND) -> Word:
    return Word(stream="transcript", sequence=0, start_ns=start_ns, end_ns=end_ns, text=text, estimated=True)


def revision(kind: SegmentKind = "utterance", *slices: Slice) -> Revision:
    return Revision(
        source_epoch=2,
        lane="speech",
        kind=kind,
        start_ns=0,
        end_ns=2 * NS_PER_SECOND,
        number=3,
        status="final",
        reason="silence",
        decided_ns=3 * NS_PER_SECOND,
        slices=slices,
    )


def affect(value: float, weights: dict[str, float]) -> AffectResult:
    emotions = np.full(len(EMOTIONS), 1 / len(EMOTIONS), np.float32)
    estimate = SentimentEstimate(value=value, low=-3.0, high=3.0, level=0.9)
    return AffectResult(sentiment=estimate, emotions=emotions, valence=0.1, arousal=0.2, weights=weights)


def predict(given: Revision, heard: TranscriptResult | None, felt: AffectResult) -> Prediction:
    def speak(batch: Sequence[SegmentInput]) -> list[SpeechResult]:
        return [SpeechResult(states=None, transcript=heard, elapsed_ms={"transcription": 4.0}) for _ in batch]

    speech = Batcher("speech", speak)
    model = Batcher("affect", lambda batch: [felt for _ in batch])
    try:
        return Predictor("s1", speech, model, Model(), UtteranceSettings()).submit(given).result(WAIT_S)
    finally:
        speech.close()
        model.close()


def test_identity_states_and_model_are_those_of_the_revision() -> None:
    result = predict(revision(), None, affect(1.0, {"text": 1.0})).result
    assert (result.session, result.source_epoch, result.start_ns, result.revision) == ("s1", 2, 0, 3)
    assert (result.status, result.reason, result.kind) == ("final", "silence", "utterance")
    assert result.model is not None
    assert (result.model.name, result.model.digest, result.model.licence) == ("model", "d1", "research")
    assert result.model.licences == {"text.safetensors": "research (MELD: GPL-3.0)"}


def test_heard_words_make_text_present_with_their_coverage_and_origin() -> None:
    heard = TranscriptResult(words=(word("good"),), origin="moonshine", log_probability=-0.1)
    sound = Slice(stream="audio", modality=Modality.AUDIO, state="present", coverage=1.0)
    prediction = predict(revision("utterance", sound), heard, affect(1.0, {"text": 0.7, "audio": 0.3}))
    text = prediction.result.modalities["text"]
    assert (text.state, text.coverage, text.weight) == ("present", 0.5, 0.7)
    assert prediction.result.transcript is not None
    assert (prediction.result.transcript.text, prediction.result.transcript.origin) == ("good", "moonshine")
    assert prediction.measured.latency_ms["transcription"] == 4.0
    assert prediction.measured.latency_ms["total"] > 0


def test_a_rejected_transcript_is_absent_text_and_says_that_it_was_rejected() -> None:
    heard = TranscriptResult(words=(), origin="moonshine", log_probability=-2.0, rejected=True)
    result = predict(revision(), heard, affect(0.0, {})).result
    assert result.transcript is None
    assert (result.modalities["text"].state, result.modalities["text"].rejected) == ("absent", True)


def test_given_words_come_from_their_stream_with_its_state() -> None:
    given = Slice(stream="words", modality=Modality.TEXT, state="pending", coverage=0.5, packets=(word("given"),))
    result = predict(revision("utterance", given), None, affect(0.0, {"text": 1.0})).result
    assert result.transcript is not None
    assert (result.transcript.text, result.transcript.origin) == ("given", "given")
    assert (result.modalities["text"].state, result.modalities["text"].weight) == ("pending", 1.0)


def test_what_is_shed_is_left_out_and_says_so_unless_it_was_heard_before() -> None:
    heard = TranscriptResult(words=(word("good"),), origin="moonshine", log_probability=-0.1)
    states = SpeechStates(start_ns=0, step_ns=1, states=np.zeros((1, 1), np.float32), layers=np.zeros((1, 4), np.float32))
    asked: list[tuple[Modality, ...]] = []

    def speak(batch: Sequence[SegmentInput]) -> list[SpeechResult]:
        asked.extend(segment.shed for segment in batch)
        return [SpeechResult(states=states, transcript=None if Modality.TEXT in s.shed else heard) for s in batch]

    speech = Batcher("speech", speak)
    model = Batcher("affect", lambda batch: [affect(1.0, {"audio": 1.0}) for _ in batch])
    seen = Slice(stream="video", modality=Modality.VIDEO, state="present", coverage=1.0)
    both, given = (Modality.TEXT, Modality.VIDEO), revision("utterance", seen)
    predictor = Predictor("s1", speech, model, Model(), UtteranceSettings())
    without, whole, again = (predictor.submit(given, shed).result(WAIT_S) for shed in (both, (), both))
    speech.close()
    model.close()
    assert [without.result.modalities[name].state for name in ("text", "video")] == ["shed", "shed"]
    assert whole.result.modalities["text"].state == "present"
    assert [again.result.modalities[name].state for name in ("text", "video")] == ["present", "shed"]
    assert again.result.transcript == whole.result.transcript
    assert asked == [both, ()]


def test_what_is_not_declared_is_absent_and_says_so() -> None:
    result = predict(revision(), None, affect(0.0, {})).result
    assert (result.modalities["video"].state, result.modalities["video"].absence) == ("absent", "not-declared")


@pytest.mark.parametrize(("value", "polarity"), [(-0.6, "negative"), (0.5, "neutral"), (-0.5, "neutral"), (0.51, "positive")])
def test_polarity_follows_sentiment(value: float, polarity: str) -> None:
    assert predict(revision(), None, affect(value, {})).result.polarity == polarity


def test_a_hole_is_published_without_asking_any_operator() -> None:
    hole = predict(revision("hole"), None, affect(1.0, {"text": 1.0})).result
    assert hole.kind == "hole"
    assert hole.sentiment is None
    assert hole.model is None


def test_the_error_of_an_operator_is_the_answer() -> None:
    def fail(batch: Sequence[SegmentInput]) -> list[SpeechResult]:
        raise RuntimeError("no memory")

    speech = Batcher("speech", fail)
    model: Batcher = Batcher("affect", lambda batch: [affect(0.0, {}) for _ in batch])
    answer = Predictor("s1", speech, model, Model(), UtteranceSettings()).submit(revision())
    with pytest.raises(OperatorError, match="operator speech: found RuntimeError: no memory"):
        answer.result(WAIT_S)


def test_a_patient_session_waits_until_it_has_finished_and_the_last_has_been_heard() -> None:
    hear = threading.Event()
    batches: list[int] = []

    def speak(batch: Sequence[SegmentInput]) -> list[SpeechResult]:
        assert hear.wait(WAIT_S)
        return [SpeechResult(states=None, transcript=None) for _ in batch]

    def feel(batch: Sequence[tuple[SegmentInput, SpeechResult]]) -> list[AffectResult]:
        batches.append(len(batch))
        return [affect(0.0, {}) for _ in batch]

    speech, model = Batcher("speech", speak), Batcher("affect", feel, max_batch=8)
    predictor = Predictor("s1", speech, model, Model(), UtteranceSettings(), patience_s=1e6)
    answers = [predictor.submit(revision(kind)) for kind in ("utterance", "hole", "silence")]
    predictor.finish()
    assert [answer.done() for answer in answers] == [False, True, False]
    hear.set()
    assert [answer.result(WAIT_S).result.kind for answer in answers] == ["utterance", "hole", "silence"]
    assert batches == [2]
    speech.close()
    model.close()


def test_a_patient_session_that_failed_to_hear_its_last_segment_waits_for_nothing() -> None:
    def fail_later(batch: Sequence[SegmentInput]) -> list[SpeechResult]:
        if batch[0].kind == "silence":
            raise RuntimeError("no memory")
        return [SpeechResult(states=None, transcript=None) for _ in batch]

    speech: SpeechBatcher = Batcher("speech", fail_later)
    model = Batcher("affect", lambda batch: [affect(0.0, {}) for _ in batch], max_batch=8)
    predictor = Predictor("s1", speech, model, Model(), UtteranceSettings(), patience_s=1e6)
    heard, failed = predictor.submit(revision("utterance")), predictor.submit(revision("silence"))
    predictor.finish()
    assert heard.result(WAIT_S).result.kind == "utterance"
    with pytest.raises(OperatorError, match="no memory"):
        failed.result(WAIT_S)
    speech.close()
    model.close()


def test_a_segment_is_freed_with_its_prediction_without_the_garbage_collector() -> None:
    held: list[weakref.ref[np.ndarray]] = []

    def speak(batch: Sequence[SegmentInput]) -> list[SpeechResult]:
        held.extend(weakref.ref(segment.samples) for segment in batch)
        return [SpeechResult(states=None, transcript=None, elapsed_ms={}) for _ in batch]

    speech = Batcher("speech", speak)
    model = Batcher("affect", lambda batch: [affect(0.0, {}) for _ in batch])
    predictor = Predictor("s1", speech, model, Model(), UtteranceSettings())
    gc.collect()
    gc.disable()
    try:
        first = revision("window")
        for number in range(4):
            span = {"start_ns": number * NS_PER_SECOND, "end_ns": (number + 1) * NS_PER_SECOND}
            predictor.submit(msgspec.structs.replace(first, **span)).result(WAIT_S)
        # The newest may be asked for again by the next of its lane; the two threads may still hold their last batch.
        assert [reference() is None for reference in held[:2]] == [True, True]
    finally:
        gc.enable()
        speech.close()
        model.close()


def test_a_listeners_window_is_of_its_persons_face_alone() -> None:
    seen = Slice(stream="video", modality=Modality.VIDEO, state="present", coverage=0.8)
    lane = msgspec.structs.replace(revision("window", seen), lane="face:7")
    felt = msgspec.structs.replace(affect(0.5, {"video": 1.0}), subject=Subject(method="largest-face", track=7))
    result = predict(lane, None, felt).result
    assert (result.lane, result.subject, result.transcript) == ("face:7", Subject(method="listener", track=7), None)
    assert {name: (report.state, report.absence) for name, report in result.modalities.items()} == {
        "video": ("present", None),
        "audio": ("absent", "not-declared"),
        "text": ("absent", "not-declared"),
    }
