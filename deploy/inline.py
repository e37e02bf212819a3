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
from typing import Literal

import msgspec

from deploy.loaded_operators import LoadedOperators, TranscriberName
from deploy.recording import check_target, keep_newest, record_on, record_to
from deploy.session.engine import Session, SessionPlan
from deploy.session.predicting import Predictor
from deploy.session.recorder import ThreadedRecorder
from deploy.session.submitting import SessionNotice
from deploy.session_parts import declarations, live_reading, overhang, segmentation, stream_operators
from deploy.session_summary import SessionSummary, recording_end
from deploy.settings import Settings
from stream.errors import SettingsError
from stream.prediction import Prediction
from stream.recording.ring import Ring
from stream.recording.schemas import RecordingHead, segmentation_name
from stream.sources.address import Address, Kind
from stream.sources.media import MediaSource
from stream.sources.readable import ReadableSource
from stream.sources.settings import TranscriptSettings
from stream.sources.transcript import TranscriptSource
from stream.timeline.settings import (
    SegmentationName,
    TimelineSettings,
    UtteranceSettings,
)

Pace = Literal["fast", "realtime", "live", "as-if-live"]
"""On virtual time as fast as possible or at the media's own pace; on the monotonic clock, of what is live or of a file."""


class InlineSession:
    """A session in this process: iterate it for its predictions, then read its `summary`."""

    def __init__(
        self,
        source: ReadableSource,
        transcript: TranscriptSource | None,
        operators: LoadedOperators,
        *,
        session: str,
        settings: Settings,
        pace: Pace,
        provisional: bool,
        predict: bool,
        owns_operators: bool,
        recorder: ThreadedRecorder | None,
        ring: Ring | None = None,
        reopen: Callable[[], MediaSource] | None = None,
        notify: Callable[[SessionNotice], None] | None = None,
        begun_s: float | None = None,
    ) -> None:
        self.id = session
        self.listeners = [] if notify is None else [notify]
        """Called with each notice, by the session's threads: they must not wait."""
        self._recorder = recorder
        self._ring = ring
        self._reopen = reopen
        self._connections = 0
        self._owned = operators if owns_operators else None
        self.duration_ns = source.duration_ns
        self._media = source
        self._sources: list[ReadableSource] = [source] if transcript is None else [source, transcript]
        self._stopped = threading.Event()
        self._begun_s = begun_s
        self._summary: SessionSummary | None = None
        self._revisions: Counter[str] = Counter()
        streams = declarations(source, transcript)
        # What has no length may be live, and then somebody waits, paced or not.
        hurried = pace != "fast" or source.duration_ns is None
        live = None
        if pace in ("live", "as-if-live"):
            live = live_reading(
                source,
                transcript,
                settings,
                self._since_begin_ns,
                paced=pace == "as-if-live",
                start_ns=0 if begun_s is None else self._since_begin_ns(),
                reopen=self._reopened if reopen else None,
            )
        self._session = Session(
            SessionPlan(
                sources=self._sources if live is None else (),
                streams=streams,
                operators=stream_operators(streams, operators),
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
                live=live,
                shedding=settings.shedding,
                notify=self._tell,
            ),
            pace=self._pace if pace == "realtime" else None,
        )

    @property
    def notices(self) -> tuple[str, ...]:
        """What is to be said of the sources and of the recording, one line each."""
        media, *others = self._sources
        overhangs = (overhang(media, other, TranscriptSettings()) for other in others)
        of_recording = () if self._recorder is None else self._recorder.notices
        own = (line for source in self._sources for line in source.notices)
        return (*own, *filter(None, overhangs), *of_recording)

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

    @property
    def recording_busy_ns(self) -> int:
        """CPU time of the recorder's own thread."""
        return 0 if self._recorder is None else self._recorder.busy_ns

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
                self._recorder.finish(recording_end(self._summary, complete))

    def keep(self, path: str | Path) -> None:
        """Writes the last minutes of a live session as a recording, while it runs or before it is closed.

        Raises `SettingsError` where none are kept, `RecordingError` where the file can't be written.
        """
        self.check_kept().save(path)

    def check_kept(self) -> Ring:
        """The ring. Raises `SettingsError` where the session has none."""
        if self._ring is None:
            fix = "a session that is recorded as a whole needs none; others: --live"
            raise SettingsError("the last minutes of a session", found="none kept", expected="a live session", fix=fix)
        return self._ring

    def close(self) -> None:
        """Stops the session, frees its sources and ends the operators that were loaded for it alone."""
        self._stopped.set()
        self._session.stop()
        if self._recorder is not None:
            self._recorder.close()
        if self._ring is not None:
            self._ring.close()
        for source in self._sources:
            source.close()
        if self._owned is not None:
            self._owned.close()

    def __enter__(self) -> InlineSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _reopened(self) -> MediaSource:
        """A network source connected anew, recorded on."""
        assert self._reopen is not None
        media = self._reopen()
        self._connections += 1
        if self._recorder is not None:
            record_on(self._recorder, media, part=self._connections, at_ns=self._since_begin_ns())
        return media

    def _tell(self, notice: SessionNotice) -> None:
        for listener in self.listeners:
            listener(notice)

    def _pace(self, arrival_ns: int) -> bool:
        """In real time, waits until the wall clock has come to `arrival_ns`; False once the session is stopped."""
        if self._begun_s is None:
            self._begun_s = time.monotonic()
        return not self._stopped.wait(max(0.0, self._begun_s + arrival_ns / 1e9 - time.monotonic()))

    def _since_begin_ns(self) -> int:
        """The session's monotonic time."""
        if self._begun_s is None:
            self._begun_s = time.monotonic()
        return round((time.monotonic() - self._begun_s) * 1e9)

    def _wall_ns(self) -> int | None:
        return None if self._begun_s is None else round((time.monotonic() - self._begun_s) * 1e9)


def open_session(
    source: str,
    *,
    transcript: str | None = None,
    segments: SegmentationName = "utterances",
    realtime: bool = False,
    live: bool | None = None,
    model: str | Path | None = None,
    transcriber: TranscriberName = "moonshine",
    session: str | None = None,
    provisional: bool = True,
    settings: Settings | None = None,
    operators: LoadedOperators | None = None,
    record: str | Path | None = None,
    predict: bool = True,
    notify: Callable[[SessionNotice], None] | None = None,
) -> InlineSession:
    """Opens a session over a media source and, where given, its transcript.

    The sources are opened before the model is loaded, so that a wrong path is told at once. `operators` that are given
    bring their own model and transcriber. `live` sources run on the monotonic clock and are never made to wait: rtsp and udp
    are live unless it is False; a file with True is read as if it were. `notify` hears, from other threads, of idle streams,
    drops, what is shed, holes and late packets. `record` names a file for a recording; without `predict` nothing but that comes
    of the session. Raises `InputError` where a source, transcript, model folder, transcriber or the wanted segmentation
    can't be used.
    """
    chosen = settings or Settings()
    timeline = msgspec.structs.replace(
        chosen.timeline, segmentation=segmentation(segments, transcript, chosen.timeline.segmentation)
    )
    is_network = Address.of(source).kind in (Kind.RTSP, Kind.UDP)
    pace: Pace = "realtime" if realtime else "fast"
    if live or (live is None and is_network):
        pace = "live" if is_network or source == "-" else "as-if-live"
    # What a live source gives was captured from its connecting on, while it is looked into and the model is loaded, too.
    begun_s = time.monotonic() if pace == "live" else None
    media = MediaSource(source)
    words = TranscriptSource(transcript) if transcript is not None else None
    if record is not None:
        check_target(record, source, transcript)
    loaded = operators or LoadedOperators(model, transcriber=transcriber)
    name = session or uuid.uuid4().hex[:12]
    recorder, ring = None, None
    is_live = pace in ("live", "as-if-live")
    if record is not None or (is_live and chosen.ring is not None):
        head = RecordingHead(
            session=name,
            source=Address.of(source).shown,
            streams=declarations(media, words),
            segmentation=segmentation_name(timeline),
            timeline=msgspec.to_builtins(timeline),
            provisionals=provisional,
            batches=loaded.batches,
            model=loaded.identity,
            transcriber=loaded.transcriber,
            live=is_live,
        )
        if record is not None:
            recorder = record_to(record, head, transcript=transcript, media=media, waits=not is_live)
        elif chosen.ring is not None:
            ring, recorder = keep_newest(head, chosen.ring, media=media)
    return InlineSession(
        media,
        words,
        loaded,
        session=name,
        settings=msgspec.structs.replace(chosen, timeline=timeline),
        pace=pace,
        provisional=provisional,
        predict=predict,
        owns_operators=operators is None,
        recorder=recorder,
        ring=ring,
        reopen=(lambda: MediaSource(source)) if is_network else None,
        notify=notify,
        begun_s=begun_s,
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
