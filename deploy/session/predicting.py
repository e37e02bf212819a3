"""From a revision to a published prediction: the segment operators in their order, and the schema filled."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import msgspec

from deploy.session.segment_input import same_sound, segment_input
from operators.batching import Batcher
from operators.interface import EMOTIONS, AffectResult, SegmentInput, SegmentModel, SpeechResult
from stream.prediction import (
    Measured,
    ModalityReport,
    ModelIdentity,
    Polarity,
    Prediction,
    Result,
    Subject,
    Transcript,
    TranscriptWord,
)
from stream.timeline.packets import Modality, Word
from stream.timeline.segments import SPEECH_LANE, Revision
from stream.timeline.settings import UtteranceSettings

NEUTRAL_SENTIMENT = 0.5
"""Sentiment nearer to zero than this is called neutral (CMU-MOSI rounds it to class 0)."""

SpeechBatcher = Batcher[SegmentInput, SpeechResult]
AffectBatcher = Batcher[tuple[SegmentInput, SpeechResult], AffectResult]


class Predictor:
    """Runs the segment operators on revisions; answers come as futures, in any order.

    A revision of the same audio as the one before it in its lane is not transcribed again: half of all finals are decided on
    what their last provisional has heard. Owns no thread: the two batchers do. `patience_s` is how long a segment that has
    been heard waits for others, so that they are fused together. `wall_ns` tells how far the session's pace
    has come (None where it has none), for the lag that is measured in real time.
    """

    def __init__(
        self,
        session: str,
        speech: SpeechBatcher,
        affect: AffectBatcher,
        model: SegmentModel,
        utterance: UtteranceSettings,
        *,
        patience_s: float = 0.0,
        host: str | None = None,
        wall_ns: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._session = session
        self._speech = speech
        self._affect = affect
        self._utterance = utterance
        self._model = ModelIdentity(
            name=model.name, digest=model.digest, licence=model.licence, licences=dict(model.licences) or None
        )
        self._device = model.device
        self._patience_s = patience_s
        self._host = host
        self._wall_ns = wall_ns
        self._newest: dict[str, _Heard] = {}
        self._lock = threading.Lock()
        self._unheard = 0
        self._finished = False

    def submit(self, revision: Revision, shed: tuple[Modality, ...] = (), clock_uncertainty_ns: int = 0) -> Future[Prediction]:
        """Starts the prediction of one revision without what is `shed`; called by one thread."""
        job = _Job(self, revision, shed, clock_uncertainty_ns)
        if revision.kind == "hole":
            job.done.set_result(self.prediction(revision, None, None, None, {}, clock_uncertainty_ns))
        else:
            with self._lock:
                self._unheard += 1
            heard = job.start(self._newest.get(revision.lane))
            if revision.lane == SPEECH_LANE:  # in a listener's nothing is heard, and lanes come and go
                self._newest[revision.lane] = heard
        return job.done

    def finish(self) -> None:
        """Nothing more will be submitted: once all has been heard, nothing waits for others."""
        with self._lock:
            self._finished = True
        self._flush()

    def _heard(self) -> None:
        """One segment less is on its way to the fusion."""
        with self._lock:
            self._unheard -= 1
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            complete = self._finished and not self._unheard
        if complete:
            self._affect.flush()

    def prediction(
        self,
        revision: Revision,
        segment: SegmentInput | None,
        speech: SpeechResult | None,
        affect: AffectResult | None,
        latency_ms: dict[str, float],
        clock_uncertainty_ns: int,
    ) -> Prediction:
        """The prediction of a revision out of what the segment operators gave (a hole has neither)."""
        transcript = _transcript(segment, speech)
        wall_ns = self._wall_ns()
        return Prediction(
            result=Result(
                session=self._session,
                source_epoch=revision.source_epoch,
                lane=revision.lane,
                kind=revision.kind,
                start_ns=revision.start_ns,
                end_ns=revision.end_ns,
                continues=revision.continues,
                revision=revision.number,
                status=revision.status,
                reason=revision.reason,
                subject=_subject(revision, affect),
                sentiment=affect.sentiment if affect else None,
                polarity=_polarity(affect),
                emotions=_emotions(affect),
                valence=affect.valence if affect else None,
                arousal=affect.arousal if affect else None,
                transcript=transcript,
                modalities=_modalities(revision, segment, speech, affect),
                model=self._model if affect else None,
                clock_uncertainty_ns=clock_uncertainty_ns,
            ),
            measured=Measured(
                latency_ms=latency_ms,
                lag_ms=None if wall_ns is None else (wall_ns - revision.end_ns) / 1e6,
                host=self._host,
                device=self._device,
            ),
        )


class _Heard(msgspec.Struct, frozen=True, eq=False):
    """What of a revision is heard, and what was heard."""

    segment: SegmentInput
    speech: Future[SpeechResult]


class _Job:
    """One revision on its way through speech and affect; each step is started by the one before.

    The futures keep it, by what is to be done with their answers; it keeps none that keeps it. Such a circle, with its sound
    and pictures in it, would stay until Python looks for circles: minutes later, with a hundred megabytes of them.
    """

    def __init__(self, predictor: Predictor, revision: Revision, shed: tuple[Modality, ...], clock_uncertainty_ns: int) -> None:
        self.done: Future[Prediction] = Future()
        self._predictor = predictor
        self._revision = revision
        self._uncertainty_ns = clock_uncertainty_ns
        self._segment = segment_input(revision, predictor._utterance, shed)
        self._begun_s = time.perf_counter()
        self._reuses = False

    def start(self, before: _Heard | None) -> _Heard:
        """Asks for the speech of the segment, unless the revision before in the lane has heard the same."""
        if before is not None and same_sound(before.segment, self._segment):
            self._reuses = True
            speech = before.speech
            if Modality.TEXT not in before.segment.shed:  # the words are there already
                left = tuple(modality for modality in self._segment.shed if modality is not Modality.TEXT)
                self._segment = msgspec.structs.replace(self._segment, shed=left)
        else:
            speech = self._predictor._speech.submit(self._segment, self._revision.end_ns)
        speech.add_done_callback(self._step(self._fuse))
        speech.add_done_callback(lambda _: self._predictor._heard())
        return _Heard(self._segment, speech)

    def _fuse(self, speech: SpeechResult) -> None:
        spoken_s = time.perf_counter()
        affect = self._predictor._affect.submit(
            (self._segment, speech), self._revision.end_ns, patience_s=self._predictor._patience_s
        )
        affect.add_done_callback(self._step(lambda result: self._finish(speech, result, spoken_s)))

    def _finish(self, speech: SpeechResult, affect: AffectResult, spoken_s: float) -> None:
        now_s = time.perf_counter()
        # What was heard for another revision took this one no time.
        latency_ms = {} if self._reuses else dict(speech.elapsed_ms)
        latency_ms |= {"affect": (now_s - spoken_s) * 1e3, "total": (now_s - self._begun_s) * 1e3}
        prediction = self._predictor.prediction(self._revision, self._segment, speech, affect, latency_ms, self._uncertainty_ns)
        self.done.set_result(prediction)

    def _step(self, then: Callable[..., None]) -> Callable[[Future], None]:
        """What to do with a step's answer; any error on the way is the job's answer."""

        def proceed(future: Future) -> None:
            try:
                then(future.result())
            except Exception as error:  # handed to whoever waits for this prediction
                self.done.set_exception(error)

        return proceed


def _given(segment: SegmentInput) -> bool:
    return segment.text_state is not None


def _transcript(segment: SegmentInput | None, speech: SpeechResult | None) -> Transcript | None:
    if segment is None:
        return None
    heard = speech.transcript if speech else None
    words = segment.words if _given(segment) else (heard.words if heard and not heard.rejected else ())
    if not words:
        return None
    return Transcript(
        text=" ".join(word.text for word in words),
        origin="given" if _given(segment) else (heard.origin if heard else ""),
        words=tuple(TranscriptWord(text=w.text, start_ns=w.start_ns, end_ns=w.end_ns, estimated=w.estimated) for w in words),
        log_probability=None if _given(segment) or heard is None else heard.log_probability,
    )


def _subject(revision: Revision, affect: AffectResult | None) -> Subject | None:
    """Whom the affect is of: in a listener's lane its person."""
    subject = affect.subject if affect else None
    if subject is None or revision.lane == SPEECH_LANE:
        return subject
    return Subject(method="listener", track=subject.track)


def _polarity(affect: AffectResult | None) -> Polarity | None:
    if affect is None or affect.sentiment is None:
        return None
    value = affect.sentiment.value
    return "neutral" if abs(value) <= NEUTRAL_SENTIMENT else "positive" if value > 0 else "negative"


def _emotions(affect: AffectResult | None) -> dict[str, float] | None:
    if affect is None or affect.emotions is None:
        return None
    return dict(zip(EMOTIONS, map(float, affect.emotions), strict=True))


def _modalities(
    revision: Revision, segment: SegmentInput | None, speech: SpeechResult | None, affect: AffectResult | None
) -> dict[str, ModalityReport]:
    weights = affect.weights if affect else {}
    reports = {
        s.modality.value: ModalityReport(
            state=s.state, absence=s.absence, coverage=s.coverage, weight=weights.get(s.modality.value, 0.0)
        )
        for s in revision.slices
        if s.modality is not Modality.ACTIVITY
    }
    if segment is None:
        return reports
    if Modality.VIDEO in reports:
        seen = max((len(frame.faces) for frame in segment.faces), default=0)
        reports[Modality.VIDEO] = msgspec.structs.replace(reports[Modality.VIDEO], faces_seen=seen)
        if Modality.VIDEO in segment.shed and reports[Modality.VIDEO].state == "present":
            reports[Modality.VIDEO] = ModalityReport(state="shed")
    if revision.lane == SPEECH_LANE and not _given(segment):
        reports[Modality.TEXT] = _heard_text(revision, segment, speech, weights.get(Modality.TEXT, 0.0))
    for modality in Modality:
        if modality is not Modality.ACTIVITY and modality not in reports:
            reports[modality.value] = ModalityReport(state="absent", absence="not-declared")
    return {str(name): report for name, report in reports.items()}


def _heard_text(revision: Revision, segment: SegmentInput, speech: SpeechResult | None, weight: float) -> ModalityReport:
    heard = speech.transcript if speech else None
    words: tuple[Word, ...] = heard.words if heard and not heard.rejected else ()
    if Modality.TEXT in segment.shed and segment.speech_ns is not None:
        return ModalityReport(state="shed")
    if not words:
        return ModalityReport(state="absent", absence="nothing-there", rejected=bool(heard and heard.rejected))
    covered = sum(word.end_ns - word.start_ns for word in words)
    return ModalityReport(state="present", coverage=min(1.0, covered / revision.span.length_ns), weight=weight)
