"""What a live session does with more than it can compute: operators that take twice the time that there is.

Everything is the session's own but the operators, which wait instead of computing, so that the load is what it is called on any
machine: a picker of faces and a transcriber whose calls last as long as is asked for.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from deploy.session.engine import Session, SessionPlan
from deploy.session.live_reading import LiveReading
from deploy.session.predicting import Predictor
from deploy.session.submitting import SessionNotice
from deploy.settings import Settings
from operators.batching import Batcher
from operators.interface import AffectResult, SegmentInput, SpeechResult, TranscriptResult
from stream.prediction import Prediction
from stream.sources.live import Capture, Captured, LiveSource
from stream.timeline.dispositions import StreamDispositions
from stream.timeline.live import LiveDoor, LiveStream
from stream.timeline.packets import (
    AudioChunk,
    Bound,
    Control,
    Faces,
    Modality,
    Packet,
    SpeechActivity,
    StreamEnd,
    VideoFrame,
    Word,
)
from stream.timeline.settings import UtteranceSettings
from stream.timeline.time import ACTIVITY_STEP_NS, ACTIVITY_STEP_SAMPLES, NS_PER_MS, NS_PER_SAMPLE, NS_PER_SECOND
from stream.timeline.watermark import StreamDeclaration

PICKS_PER_SECOND: Final = 5
FRAME_NS: Final = 40 * NS_PER_MS
SPOKEN_NS, PERIOD_NS = 3 * NS_PER_SECOND, 4_500 * NS_PER_MS
"""Three seconds of speech in every four and a half."""
HEARD_PER_SECOND: Final = SPOKEN_NS / PERIOD_NS
"""Seconds of speech that finals have in a second of such media; provisional revisions come on top."""


class Overload(msgspec.Struct, frozen=True, kw_only=True):
    """A live session under a load; ages are from the end of a final to its prediction, less what the rules wait, in seconds."""

    load: float
    seconds: float
    finals: int
    final_age_median_s: float
    final_age_max_s: float
    utterances: int
    utterances_with_words: int
    utterances_shed: int
    utterances_amended: int
    provisionals: int
    audio_complete: bool
    given_words_complete: bool
    holes: int
    steps: dict[str, int]
    """How often each step of the ladder was taken."""
    dispositions: dict[str, StreamDispositions]
    adds_up: bool


class _Picture:
    width = height = 1

    def rgb(self, width: int, height: int) -> np.ndarray:
        return np.zeros((height, width, 3), np.uint8)

    def grey(self) -> np.ndarray:
        return np.zeros((1, 1), np.uint8)


class _Device:
    """A source in real time: what `make` gives for each step of `step_ns`."""

    def __init__(self, stream: LiveStream, step_ns: int, seconds: float, make: Callable[[int], Packet]) -> None:
        self.live_streams: tuple[LiveStream, ...] = (stream,)
        self._step_ns, self._count, self._make = step_ns, round(seconds * NS_PER_SECOND) // step_ns, make
        self._given = 0
        self._begun_s = time.monotonic()
        self._closed = threading.Event()

    def read(self) -> list[Capture] | None:
        if self._given == self._count:
            return None
        due_s = self._begun_s + (self._given + 1) * self._step_ns / NS_PER_SECOND
        if self._closed.wait(max(0.0, due_s - time.monotonic())):
            return None
        packet = self._make(self._given)
        self._given += 1
        return [Captured(packet=packet, sequence=packet.sequence)]

    def close(self) -> None:
        self._closed.set()


class _Picker:
    """Picks faces (of nobody) as the face operator does; each pick lasts `pick_s`."""

    name, output, lookback_ns = "faces", "video", 0

    def __init__(self, pick_s: float) -> None:
        self._pick_s = pick_s
        self._cell = -1

    def process(self, packet: Packet) -> Iterator[Packet | Control]:
        cell = packet.start_ns * PICKS_PER_SECOND // NS_PER_SECOND
        if cell > self._cell:
            self._cell = cell
            time.sleep(self._pick_s)
            at = {"epoch": packet.epoch, "sequence": packet.sequence, "start_ns": packet.start_ns, "end_ns": packet.end_ns}
            yield Faces(stream=self.output, faces=(), **at)
        yield Bound(stream=self.output, bound_ns=packet.start_ns)

    def bound(self, bound_ns: int) -> Iterator[Control]:
        yield Bound(stream=self.output, bound_ns=bound_ns)

    def finish(self, at_ns: int) -> Iterator[Control]:
        yield Bound(stream=self.output, bound_ns=at_ns)

    def reset(self, epoch: int, at_ns: int) -> tuple[()]:  # noqa: ARG002
        return ()


class _Loudness:
    """Speech where the samples are loud; takes no time."""

    name, output, lookback_ns = "voice activity", "activity", 0

    def process(self, packet: Packet) -> Iterator[Packet | Control]:
        assert isinstance(packet, AudioChunk)
        yield SpeechActivity(
            stream=self.output,
            epoch=packet.epoch,
            sequence=packet.sequence,
            start_ns=packet.start_ns,
            end_ns=packet.end_ns,
            probability=float(packet.samples[0] != 0),
        )
        yield Bound(stream=self.output, bound_ns=packet.end_ns)

    def bound(self, bound_ns: int) -> Iterator[Control]:
        yield Bound(stream=self.output, bound_ns=bound_ns)

    def finish(self, at_ns: int) -> Iterator[Control]:
        yield Bound(stream=self.output, bound_ns=at_ns)
        yield StreamEnd(stream=self.output, at_ns=at_ns)

    def reset(self, epoch: int, at_ns: int) -> tuple[()]:  # noqa: ARG002
        return ()


class _Model:
    """Feels nothing."""

    name, digest, licence, device = "none", "none", "none", "none"
    licences: Mapping[str, str] = {}

    def infer(self, batch: Sequence[tuple[SegmentInput, SpeechResult]]) -> list[AffectResult]:
        nothing = AffectResult(sentiment=None, emotions=None, valence=None, arousal=None, weights={})
        return [nothing for _ in batch]


def measure(*, video_load: float = 0.0, transcription_load: float = 0.0, seconds: float, given_words: bool = False) -> Overload:
    """One live session in which picking faces, transcribing, or both take `..._load` times the time that there is."""
    settings = Settings()
    sources: list[LiveSource] = [
        _Device(LiveStream(name="video", modality=Modality.VIDEO, device="camera"), FRAME_NS, seconds, _frame),
        _Device(LiveStream(name="audio", modality=Modality.AUDIO, device="microphone"), ACTIVITY_STEP_NS, seconds, _chunk),
    ]
    if given_words:
        words = LiveStream(name="words", modality=Modality.TEXT)
        sources.append(_Device(words, NS_PER_SECOND // 2, seconds, _word))
    declared = [stream for source in sources for stream in source.live_streams]
    begun_s = time.monotonic()
    live = LiveReading(sources, LiveDoor(declared), lambda: round((time.monotonic() - begun_s) * NS_PER_SECOND))
    speech = Batcher("speech", _transcriber(transcription_load / HEARD_PER_SECOND))
    affect = Batcher("affect", _Model().infer)
    notices: list[SessionNotice] = []
    predictor = Predictor("overload", speech, affect, _Model(), UtteranceSettings())
    streams = [StreamDeclaration(name=stream.name, modality=stream.modality) for stream in declared]
    streams.append(StreamDeclaration(name="activity", modality=Modality.ACTIVITY, source="audio"))
    session = Session(
        SessionPlan(
            streams=streams,
            operators={"video": (_Picker(video_load / PICKS_PER_SECOND),), "audio": (_Loudness(),)},
            predictor=predictor,
            timeline=settings.timeline,
            engine=settings.engine,
            live=live,
            shedding=settings.shedding,
            picks_per_second=PICKS_PER_SECOND,
            notify=notices.append,
        )
    )
    given = [(live.now_ns(), prediction) for prediction in session]
    speech.close()
    affect.close()
    load = max(video_load, transcription_load)
    return _judged(load, seconds, given, notices, session.dispositions(), settings.timeline.segmentation)


def _judged(
    load: float,
    seconds: float,
    given: Sequence[tuple[int, Prediction]],
    notices: Sequence[SessionNotice],
    dispositions: dict[str, StreamDispositions],
    segmentation: object,
) -> Overload:
    assert isinstance(segmentation, UtteranceSettings)
    results = [(at_ns, prediction.result) for at_ns, prediction in given]
    finals = [(at_ns, result) for at_ns, result in results if result.status == "final" and result.kind != "hole"]
    spoken = [result for _, result in finals if result.kind == "utterance"]
    states = Counter(result.modalities["text"].state for result in spoken)
    ages_s = [(at_ns - result.end_ns - segmentation.hang_over_ns) / NS_PER_SECOND for at_ns, result in finals]
    heard = dispositions["audio"]
    read = dispositions.get("words")
    return Overload(
        load=load,
        seconds=seconds,
        finals=len(finals),
        final_age_median_s=float(np.median(ages_s)),
        final_age_max_s=float(np.max(ages_s)),
        utterances=len(spoken),
        utterances_with_words=states["present"],
        utterances_shed=states["shed"],
        utterances_amended=sum(result.reason == "caught-up" for _, result in results),
        provisionals=sum(result.status == "provisional" for _, result in results),
        audio_complete=heard.used + heard.unclaimed == heard.received,
        given_words_complete=read is None or read.used + read.unclaimed == read.received,
        holes=sum(result.kind == "hole" for _, result in results),
        steps=dict(Counter(notice.step for notice in notices if notice.step is not None)),
        dispositions=dispositions,
        adds_up=all(_adds_up(counts) for counts in dispositions.values()),
    )


def _adds_up(counts: StreamDispositions) -> bool:
    decided = counts.used + sum(counts.dropped.values()) + counts.late + counts.unclaimed + counts.pending
    return decided == counts.received and counts.pending == 0


def _frame(number: int) -> Packet:
    at_ns = number * FRAME_NS
    return VideoFrame(stream="video", sequence=number, start_ns=at_ns, end_ns=at_ns, image=_Picture())


def _chunk(number: int) -> Packet:
    start_ns = number * ACTIVITY_STEP_NS
    return AudioChunk(
        stream="audio",
        sequence=number,
        start_ns=start_ns,
        end_ns=start_ns + ACTIVITY_STEP_NS,
        samples=np.full(ACTIVITY_STEP_SAMPLES, 1000 * (start_ns % PERIOD_NS < SPOKEN_NS), np.int16),
        first_sample=start_ns // NS_PER_SAMPLE,
    )


def _word(number: int) -> Packet:
    start_ns = number * NS_PER_SECOND // 2
    return Word(stream="words", sequence=number, start_ns=start_ns, end_ns=start_ns + 300 * NS_PER_MS, text="word")


def _transcriber(seconds_per_second: float) -> Callable[[Sequence[SegmentInput]], list[SpeechResult]]:
    """A speech stage that takes so long for each second of speech that it transcribes."""

    def hear(segment: SegmentInput) -> SpeechResult:
        if segment.speech_ns is None:
            return SpeechResult(states=None, transcript=None)
        if segment.text_state is not None or Modality.TEXT in segment.shed:
            return SpeechResult(states=None, transcript=None)
        start_ns, end_ns = segment.speech_ns
        time.sleep(seconds_per_second * (end_ns - start_ns) / NS_PER_SECOND)
        word = Word(stream="transcript", sequence=0, start_ns=start_ns, end_ns=end_ns, text="word", estimated=True)
        return SpeechResult(states=None, transcript=TranscriptResult(words=(word,), origin="none"))

    return lambda batch: [hear(segment) for segment in batch]
