"""The inline runtime: one process, the session engine, operators called directly through the batcher."""

from __future__ import annotations

import platform
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, get_args

import cv2
import msgspec
import threadpoolctl

from deploy.heap import bound_heap
from deploy.recording import check_target, record_to
from deploy.session.engine import Session, SessionPlan
from deploy.session.predicting import AffectBatcher, Predictor, SpeechBatcher
from deploy.session.recorder import ThreadedRecorder
from deploy.settings import Settings
from operators.batching import Batcher
from operators.encoders.speech import SpeechEncoder
from operators.faces.detection import CenterFaceDetector
from operators.faces.operator import FaceOperator
from operators.interface import StreamOperator, Transcriber
from operators.transcription.moonshine import MoonshineTranscriber
from operators.transcription.operator import SpeechStage
from operators.transcription.whisper import WhisperTranscriber
from operators.voice_activity import SileroNetwork, VoiceActivityOperator
from stream.errors import SettingsError
from stream.prediction import ModelIdentity, Prediction
from stream.recording.schemas import BatchPlan, RecordingEnd, RecordingHead, segmentation_name
from stream.sources.address import Address
from stream.sources.media import MediaSource
from stream.sources.readable import ReadableSource
from stream.sources.transcript import TranscriptSource, read_lines
from stream.timeline.dispositions import StreamDispositions
from stream.timeline.packets import Modality
from stream.timeline.settings import (
    LineSettings,
    SegmentationName,
    SegmentationSettings,
    TimelineSettings,
    UtteranceSettings,
    WindowSettings,
)
from stream.timeline.watermark import StreamDeclaration

TranscriberName = Literal["moonshine", "whisper"]
"""`moonshine` ships; `whisper` is an extra, and measures the times of its words."""
AFFECT_BATCH = 16
"""Segments that are fused at once: with more, a text costs no less."""


class LoadedOperators:
    """The stateless operators of one model, loaded once and shared by the sessions of this process.

    One thread computes speech and one computes affect, whatever the number of sessions; each library keeps to one thread
    of its own, since two on a busy machine make a call many times slower, and the process's heap to its bounds. Raises
    `InputError` where the model folder or the transcriber can't be used.
    """

    def __init__(
        self, model: str | Path | None = None, device: str = "cpu", *, transcriber: TranscriberName = "moonshine"
    ) -> None:
        bound_heap()
        encoder = SpeechEncoder()
        words = _transcriber(transcriber, encoder)
        # Here, since it takes seconds: a wrong path, an extra that is missing have been told by now.
        import torch

        from operators.model_folder import load_model

        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        # numpy's own: a second one spins at the small matrices here, 4 % of the pipeline's CPU.
        threadpoolctl.threadpool_limits(limits=1, user_api="blas")
        self.transcriber = transcriber
        self.model = load_model(Path(model) if model is not None else None, device=device)
        self.detector = CenterFaceDetector()
        self.voice = SileroNetwork()
        self.speech: SpeechBatcher = Batcher("speech", SpeechStage(encoder, words).infer)
        self.affect: AffectBatcher = Batcher("affect", self.model.infer, max_batch=AFFECT_BATCH)

    @property
    def batches(self) -> BatchPlan:
        """How the segment operators are called."""
        return BatchPlan(speech=1, affect=AFFECT_BATCH, device=self.model.device)

    @property
    def identity(self) -> ModelIdentity:
        """Which model it is."""
        return ModelIdentity(name=self.model.name, digest=self.model.digest, licence=self.model.licence)

    def close(self) -> None:
        """Ends the two threads, after the calls that are under way."""
        self.speech.close()
        self.affect.close()


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a session came to, known when it has ended.

    `media_ns` is session time analysed, `wall_s` and `cpu_s` (of this process) are seconds; `cut` says in a line what a
    container declared and did not hold, or held and could not be decoded.
    """

    dispositions: dict[str, StreamDispositions]
    revisions: dict[str, int]
    media_ns: int
    wall_s: float
    cpu_s: float
    cut: str | None
    notices: tuple[str, ...]


class InlineSession:
    """A session in this process: iterate it for its predictions, then read its `summary`."""

    def __init__(
        self,
        source: MediaSource,
        transcript: TranscriptSource | None,
        operators: LoadedOperators,
        *,
        session: str,
        settings: Settings,
        realtime: bool,
        provisional: bool,
        predict: bool,
        owns_operators: bool,
        recorder: ThreadedRecorder | None,
    ) -> None:
        self.id = session
        self._recorder = recorder
        self._owned = operators if owns_operators else None
        self.duration_ns = source.duration_ns
        self._media = source
        self._sources: list[ReadableSource] = [source] if transcript is None else [source, transcript]
        self._stopped = threading.Event()
        self._begun_s: float | None = None
        self._summary: SessionSummary | None = None
        self._revisions: Counter[str] = Counter()
        streams = _declarations(source, transcript)
        # What has no length may be live, and then somebody waits, paced or not.
        hurried = realtime or source.duration_ns is None
        self._session = Session(
            SessionPlan(
                sources=self._sources,
                streams=streams,
                operators=_stream_operators(streams, operators),
                predictor=new_predictor(
                    session,
                    operators,
                    settings.timeline,
                    patience_s=0.0 if hurried else settings.engine.batch_patience_s,
                    wall_ns=self._wall_ns,
                )
                if predict
                else None,
                timeline=settings.timeline,
                engine=settings.engine,
                provisionals=provisional,
                recorder=recorder,
            ),
            pace=self._pace if realtime else None,
        )

    @property
    def notices(self) -> tuple[str, ...]:
        """What is to be said of the sources, one line each."""
        return tuple(line for source in self._sources for line in source.notices)

    @property
    def position_ns(self) -> int:
        """How far the session has come, in session time."""
        return self._session.position_ns

    @property
    def summary(self) -> SessionSummary:
        """The session's summary; raises `SettingsError` before it has been iterated."""
        if self._summary is None:
            raise SettingsError("the summary of a session", expected="a session that has ended", fix="iterate it first")
        return self._summary

    def operator_busy_ns(self) -> dict[str, int]:
        """CPU time inside the calls of each stream operator."""
        return self._session.operator_busy_ns()

    @property
    def recording_failure(self) -> str | None:
        """One line where the session is recorded and that failed, or something had to be left out."""
        return None if self._recorder is None else self._recorder.failure

    def __iter__(self) -> Iterator[Prediction]:
        begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
        complete = False
        try:
            for prediction in self._session:
                self._revisions[prediction.result.status] += 1
                if self._recorder is not None:
                    self._recorder.prediction(prediction)
                yield prediction
            complete = True
        finally:
            self._summary = SessionSummary(
                dispositions=self._session.dispositions(),
                revisions=dict(self._revisions),
                media_ns=self._session.position_ns,
                wall_s=time.perf_counter() - begun_s,
                cpu_s=time.process_time() - begun_cpu_s,
                cut=self._media.cut,
                notices=self.notices,
            )
            if self._recorder is not None:
                self._recorder.finish(_recording_end(self._summary, complete))

    def close(self) -> None:
        """Stops the session, frees its sources and ends the operators that were loaded for it alone."""
        self._stopped.set()
        self._session.stop()
        if self._recorder is not None:
            self._recorder.close()
        for source in self._sources:
            source.close()
        if self._owned is not None:
            self._owned.close()

    def __enter__(self) -> InlineSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _pace(self, arrival_ns: int) -> bool:
        """In real time, waits until the wall clock has come to `arrival_ns`; False once the session is stopped."""
        if self._begun_s is None:
            self._begun_s = time.monotonic()
        return not self._stopped.wait(max(0.0, self._begun_s + arrival_ns / 1e9 - time.monotonic()))

    def _wall_ns(self) -> int | None:
        return None if self._begun_s is None else round((time.monotonic() - self._begun_s) * 1e9)


def open_session(
    source: str,
    *,
    transcript: str | None = None,
    segments: SegmentationName = "utterances",
    realtime: bool = False,
    model: str | Path | None = None,
    transcriber: TranscriberName = "moonshine",
    session: str | None = None,
    provisional: bool = True,
    settings: Settings | None = None,
    operators: LoadedOperators | None = None,
    record: str | Path | None = None,
    predict: bool = True,
) -> InlineSession:
    """Opens a session over a media source and, where given, its transcript.

    The sources are opened before the model is loaded, so that a wrong path is told at once. `operators` that are given
    bring their own model and transcriber. `record` names a file for a recording; without `predict` nothing but that comes
    of the session. Raises `InputError` where a source, transcript, model folder, transcriber or the wanted segmentation
    can't be used.
    """
    chosen = settings or Settings()
    timeline = msgspec.structs.replace(
        chosen.timeline, segmentation=_segmentation(segments, transcript, chosen.timeline.segmentation)
    )
    media = MediaSource(source)
    words = TranscriptSource(transcript) if transcript is not None else None
    if record is not None:
        check_target(record, source, transcript)
    loaded = operators or LoadedOperators(model, transcriber=transcriber)
    name = session or uuid.uuid4().hex[:12]
    recorder = None
    if record is not None:
        head = RecordingHead(
            session=name,
            source=Address.of(source).shown,
            streams=_declarations(media, words),
            segmentation=segmentation_name(timeline),
            timeline=msgspec.to_builtins(timeline),
            provisionals=provisional,
            batches=loaded.batches,
            model=loaded.identity,
            transcriber=loaded.transcriber,
        )
        recorder = record_to(record, head, transcript=transcript)
    return InlineSession(
        media,
        words,
        loaded,
        session=name,
        settings=msgspec.structs.replace(chosen, timeline=timeline),
        realtime=realtime,
        provisional=provisional,
        predict=predict,
        owns_operators=operators is None,
        recorder=recorder,
    )


def new_predictor(
    session: str,
    operators: LoadedOperators,
    timeline: TimelineSettings,
    *,
    patience_s: float,
    wall_ns: Callable[[], int | None] = lambda: None,
) -> Predictor:
    """The predictor of one session in this process."""
    return Predictor(
        session,
        operators.speech,
        operators.affect,
        operators.model,
        timeline.segmentation if isinstance(timeline.segmentation, UtteranceSettings) else UtteranceSettings(),
        patience_s=patience_s,
        host=platform.node(),
        wall_ns=wall_ns,
    )


def _recording_end(summary: SessionSummary, complete: bool) -> RecordingEnd:
    return RecordingEnd(complete=complete, dispositions=summary.dispositions, cut=summary.cut, notices=summary.notices)


def _transcriber(name: TranscriberName, encoder: SpeechEncoder) -> Transcriber:
    if name not in get_args(TranscriberName):
        raise SettingsError("transcriber", found=repr(name), expected=" or ".join(get_args(TranscriberName)))
    return WhisperTranscriber() if name == "whisper" else MoonshineTranscriber(encoder)


def _segmentation(name: SegmentationName, transcript: str | None, current: SegmentationSettings) -> SegmentationSettings:
    if name == "lines":
        if transcript is None:
            raise SettingsError("segments by lines", found="no transcript", expected="one", fix="add --transcript FILE")
        return LineSettings(lines=read_lines(transcript))
    if name == "windows":
        return current if isinstance(current, WindowSettings) else WindowSettings()
    return current if isinstance(current, UtteranceSettings) else UtteranceSettings()


def _declarations(media: MediaSource, transcript: TranscriptSource | None) -> tuple[StreamDeclaration, ...]:
    sources: list[ReadableSource] = [media] if transcript is None else [media, transcript]
    streams = [StreamDeclaration(name=s.name, modality=s.modality) for source in sources for s in source.streams]
    audio = next((s for s in streams if s.modality is Modality.AUDIO), None)
    if audio is not None:
        streams.append(StreamDeclaration(name="activity", modality=Modality.ACTIVITY, source=audio.name))
    return tuple(streams)


def _stream_operators(
    streams: tuple[StreamDeclaration, ...], operators: LoadedOperators
) -> dict[str, tuple[StreamOperator, ...]]:
    found: dict[str, tuple[StreamOperator, ...]] = {}
    for stream in streams:
        if stream.modality is Modality.VIDEO:
            found[stream.name] = (FaceOperator(operators.detector, operators.model.face_encoder.infer, stream=stream.name),)
        elif stream.modality is Modality.AUDIO:
            found[stream.name] = (VoiceActivityOperator(operators.voice),)
    return found
