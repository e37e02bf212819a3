from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pytest

from deploy.session.engine import Session, SessionPlan
from deploy.session.predicting import Predictor
from deploy.settings import EngineSettings
from operators.batching import Batcher
from operators.interface import AffectResult, SegmentInput, SpeechResult
from operators.voice_activity import VoiceActivityOperator
from stream.errors import OperatorError
from stream.prediction import Prediction, Result
from stream.timeline.packets import (
    AudioChunk,
    Bound,
    Control,
    EpochStart,
    Faces,
    Item,
    Modality,
    Packet,
    SpeechActivity,
    StreamEnd,
    StreamIdle,
    VideoFrame,
)
from stream.timeline.settings import TimelineSettings, UtteranceSettings, WindowSettings
from stream.timeline.time import ACTIVITY_STEP_NS, ACTIVITY_STEP_SAMPLES, NS_PER_MS, NS_PER_SAMPLE, NS_PER_SECOND
from stream.timeline.watermark import StreamDeclaration

STREAMS = (
    StreamDeclaration(name="video", modality=Modality.VIDEO),
    StreamDeclaration(name="audio", modality=Modality.AUDIO),
    StreamDeclaration(name="activity", modality=Modality.ACTIVITY, source="audio"),
)


class Picture:
    width = height = 1

    def rgb(self, width: int, height: int) -> np.ndarray:
        return np.zeros((height, width, 3), np.uint8)

    def grey(self) -> np.ndarray:
        return np.zeros((self.height, self.width), np.uint8)


class Container:
    """Video at 25 and audio in steps of 32 ms; loud where `spoken`; audio read `skew_ns` behind video."""

    def __init__(
        self, seconds: float, spoken: Sequence[tuple[float, float]] = (), *, skew_ns: int = 0, size: int = 100
    ) -> None:
        self.dropped: dict[str, int] = {}
        self.position_ns = 0
        self.ended = self.closed = False
        self.compressed_bytes = size
        end_ns = round(seconds * NS_PER_SECOND)
        video = [(t, self._frame(k, t)) for k, t in enumerate(range(0, end_ns, 40 * NS_PER_MS))]
        audio = [(t + skew_ns, self._chunk(k, t, spoken)) for k, t in enumerate(range(0, end_ns, ACTIVITY_STEP_NS))]
        self._items = [item for _, item in sorted(video + audio, key=lambda entry: entry[0])]
        self._end_ns = end_ns

    def read(self) -> list[Item]:
        if not self._items:
            self.ended = True
            return [StreamEnd(stream=name, at_ns=self._end_ns) for name in ("video", "audio")]
        item = self._items.pop(0)
        self.position_ns = max(self.position_ns, item.end_ns)
        return [item, Bound(stream=item.stream, bound_ns=item.end_ns)]

    def close(self) -> None:
        self.closed = True

    @staticmethod
    def _frame(sequence: int, at_ns: int) -> Packet:
        return VideoFrame(stream="video", sequence=sequence, start_ns=at_ns, end_ns=at_ns, image=Picture())

    @staticmethod
    def _chunk(sequence: int, at_ns: int, spoken: Sequence[tuple[float, float]]) -> Packet:
        loud = any(start <= at_ns / NS_PER_SECOND < end for start, end in spoken)
        return AudioChunk(
            stream="audio",
            sequence=sequence,
            start_ns=at_ns,
            end_ns=at_ns + ACTIVITY_STEP_NS,
            samples=np.full(ACTIVITY_STEP_SAMPLES, 1000 * loud, np.int16),
            first_sample=at_ns // NS_PER_SAMPLE,
        )


class Picker:
    """Every fifth frame has an empty set of faces."""

    name, output, lookback_ns = "picker", "video", 0

    def __init__(self, hesitate: random.Random | None = None) -> None:
        self._hesitate = hesitate

    def process(self, packet: Packet) -> Iterable[Packet | Control]:
        waste_time(self._hesitate)
        if packet.sequence % 5 == 0:
            span = {"start_ns": packet.start_ns, "end_ns": packet.end_ns}
            yield Faces(stream="video", sequence=packet.sequence, faces=(), **span)
        yield Bound(stream="video", bound_ns=packet.start_ns)

    def bound(self, bound_ns: int) -> Iterable[Control]:
        yield Bound(stream="video", bound_ns=bound_ns)

    def finish(self, at_ns: int) -> Iterable[Control]:
        yield Bound(stream="video", bound_ns=at_ns)

    def reset(self, epoch: int, at_ns: int) -> tuple[()]:
        return ()


class LateFailure(Picker):
    """Its packets want completion, which fails for the one of sequence `fails_at`."""

    def __init__(self, *, fails_at: int = -1) -> None:
        super().__init__()
        self.completed: list[int] = []
        self._fails_at = fails_at

    def complete(self, packets: Sequence[Packet]) -> Sequence[Packet]:
        if any(packet.sequence == self._fails_at for packet in packets):
            raise ValueError("no such crop")
        self.completed.append(len(packets))
        return packets


class Loudness:
    """Speech where the samples are loud."""

    name, output, lookback_ns = "loudness", "activity", 0

    def __init__(
        self, hesitate: random.Random | None = None, *, fails_at: int = -1, hangs: threading.Event | None = None
    ) -> None:
        self._hesitate, self._fails_at, self._hangs = hesitate, fails_at, hangs

    def process(self, packet: Packet) -> Iterable[Packet | Control]:
        assert isinstance(packet, AudioChunk)
        waste_time(self._hesitate)
        if self._hangs:
            self._hangs.wait()
        if packet.sequence == self._fails_at:
            raise ValueError("no such weights")
        yield SpeechActivity(
            stream="activity",
            sequence=packet.sequence,
            start_ns=packet.start_ns,
            end_ns=packet.end_ns,
            probability=float(packet.samples[0] > 0),
        )
        yield Bound(stream="activity", bound_ns=packet.end_ns)

    def bound(self, bound_ns: int) -> Iterable[Control]:
        yield Bound(stream="activity", bound_ns=bound_ns)

    def finish(self, at_ns: int) -> Iterable[Control]:
        yield StreamEnd(stream="activity", at_ns=at_ns)

    def reset(self, epoch: int, at_ns: int) -> tuple[()]:
        return ()


class Mute:
    name, digest, licence, device = "mute", "0", "none", "cpu"
    licences: Mapping[str, str] = {}

    def infer(self, batch: Sequence[tuple[SegmentInput, SpeechResult]]) -> list[AffectResult]:
        nothing = AffectResult(sentiment=None, emotions=None, valence=None, arousal=None, weights={})
        return [nothing for _ in batch]


def waste_time(hesitate: random.Random | None) -> None:
    """Spends a random amount of work, so that threads meet in another order."""
    if hesitate is not None:
        sum(range(hesitate.randrange(20_000)))


def open_session(
    source: Container,
    *,
    voice: Loudness | None = None,
    picker: Picker | None = None,
    pace: Callable[[int], bool] | None = None,
    hesitate: random.Random | None = None,
    engine: EngineSettings | None = None,
    timeline: TimelineSettings | None = None,
) -> Session:
    speech = Batcher("speech", lambda batch: [SpeechResult(states=None, transcript=None) for _ in batch])
    affect = Batcher("affect", Mute().infer)
    return Session(
        SessionPlan(
            sources=[source],
            streams=STREAMS,
            operators={"video": [picker or Picker(hesitate)], "audio": [voice or Loudness(hesitate)]},
            predictor=Predictor("test", speech, affect, Mute(), UtteranceSettings()),
            timeline=timeline or TimelineSettings(),
            engine=engine or EngineSettings(),
        ),
        pace=pace,
    )


SPOKEN = ((1.0, 2.5), (4.0, 6.2))


def results(predictions: Iterable[Prediction]) -> list[Result]:
    return [prediction.result for prediction in predictions]


def test_a_session_gives_its_segments_in_order_and_accounts_for_every_packet() -> None:
    source = Container(8.0, SPOKEN)
    session = open_session(source)
    finals = [r for r in results(session) if r.status == "final"]
    assert [r.kind for r in finals if r.kind == "utterance"] == ["utterance"] * len(SPOKEN)
    assert [r.start_ns for r in finals] == [0, *(r.end_ns for r in finals[:-1])]
    assert finals[-1].end_ns == 8 * NS_PER_SECOND
    video, audio = (session.dispositions()[name] for name in ("video", "audio"))
    assert video.received == 200
    assert video.dropped["sampling"] == 160
    assert video.used == 40
    assert (audio.received, audio.used, audio.pending) == (250, 250, 0)
    assert source.closed


@pytest.mark.parametrize("seed", range(3))
def test_thread_timing_changes_nothing(seed: int) -> None:
    plain = results(open_session(Container(8.0, SPOKEN)))
    assert results(open_session(Container(8.0, SPOKEN), hesitate=random.Random(seed))) == plain
    assert {r.status for r in plain} == {"provisional", "final"}


def test_tracks_that_lie_seconds_apart_in_the_container_do_not_deadlock() -> None:
    tight = EngineSettings(budget_bytes=300, budget_span_ns=40 * NS_PER_MS)
    skewed = open_session(Container(6.0, SPOKEN, skew_ns=3 * NS_PER_SECOND), engine=tight)
    even = open_session(Container(6.0, SPOKEN))
    spans = [[(r.start_ns, r.end_ns, r.kind) for r in results(s) if r.status == "final"] for s in (skewed, even)]
    assert spans[0] == spans[1]


def test_an_operator_that_raises_ends_the_session_with_its_name_after_what_came_before() -> None:
    source = Container(8.0, SPOKEN)
    given: list[Result] = []
    session = open_session(source, voice=Loudness(fails_at=120))
    with pytest.raises(OperatorError, match="operator loudness: found ValueError: no such weights"):
        given.extend(prediction.result for prediction in session)
    assert any(r.status == "final" for r in given)
    assert source.closed


def test_packets_are_completed_together_where_reads_are_grouped() -> None:
    grouped, paced = LateFailure(), LateFailure()
    given = results(open_session(Container(4.0, SPOKEN), picker=grouped))
    assert results(open_session(Container(4.0, SPOKEN), picker=paced, pace=lambda _: True)) == given
    assert sum(grouped.completed) == sum(paced.completed) == 20
    assert set(grouped.completed) <= {4, 5, 6}  # a second of five a second, and what is left
    assert set(paced.completed) == {1}


@pytest.mark.parametrize("pace", [None, lambda _: True], ids=["grouped", "paced"])
def test_a_completion_that_fails_ends_the_session_after_what_came_before_its_packet(pace: Callable[[int], bool] | None) -> None:
    windows = TimelineSettings(segmentation=WindowSettings())
    given: list[Result] = []
    # The frames at 3.8 and 4 s are of one group: what the first decides is still published.
    session = open_session(Container(8.0), picker=LateFailure(fails_at=100), timeline=windows, pace=pace)
    with pytest.raises(OperatorError, match="operator picker: found ValueError: no such crop"):
        given.extend(prediction.result for prediction in session)
    assert [r.start_ns for r in given if r.status == "final"] == [0]
    assert session.dispositions()["video"].received == 100


def test_an_operator_that_hangs_is_told_by_its_name_and_another_session_goes_on() -> None:
    release = threading.Event()
    stuck = open_session(Container(2.0), voice=Loudness(hangs=release), engine=EngineSettings(call_deadline_s=0.2))
    with pytest.raises(OperatorError, match=r"operator loudness: found no answer within 0\.2 s"):
        list(stuck)
    release.set()
    assert results(open_session(Container(2.0)))


def test_a_session_that_nobody_reads_on_stops_and_closes_its_source() -> None:
    source = Container(60.0, SPOKEN)
    reading = iter(open_session(source))
    next(reading)
    reading.close()
    assert source.closed
    assert not source.ended


class Network:
    """Speech where a window is loud."""

    def infer(self, window: np.ndarray, state: np.ndarray) -> tuple[float, np.ndarray]:
        return float(window.any()), state


@pytest.mark.parametrize("pace", [None, lambda _: True], ids=["grouped", "paced"])
def test_the_last_rest_of_a_step_before_a_new_epoch_is_heard(pace: Callable[[int], bool] | None) -> None:
    resumes_ns, ends_ns = 5 * NS_PER_SECOND, 8 * NS_PER_SECOND

    class Reset(Container):
        """Its clock is reset in the middle of the detector's step, after two seconds and a bit of speech."""

        def __init__(self) -> None:
            super().__init__(0.0)
            self._end_ns, self._said_ns = ends_ns, 100 * 20 * NS_PER_MS + 5 * NS_PER_MS
            whole = [self._sound(k, k * 20 * NS_PER_MS, 20, 0) for k in range(100)]
            rest = self._sound(100, 100 * 20 * NS_PER_MS, 5, 0)
            after = [self._sound(101 + k, resumes_ns + k * 20 * NS_PER_MS, 20, 1, first=k * 320) for k in range(150)]
            start = EpochStart(streams=("video", "audio"), epoch=1, at_ns=resumes_ns)
            self._items = [*whole, rest, start, *after]

        def read(self) -> list[Item]:
            return [self._items.pop(0)] if self._items and isinstance(self._items[0], EpochStart) else super().read()

        @staticmethod
        def _sound(sequence: int, at_ns: int, length_ms: int, epoch: int, *, first: int | None = None) -> Packet:
            return AudioChunk(
                stream="audio",
                epoch=epoch,
                sequence=sequence,
                start_ns=at_ns,
                end_ns=at_ns + length_ms * NS_PER_MS,
                samples=np.full(length_ms * 16, 1000 * (epoch == 0), np.int16),
                first_sample=at_ns // NS_PER_SAMPLE if first is None else first,
            )

    source = Reset()
    session = open_session(source, voice=VoiceActivityOperator(Network()), pace=pace)  # type: ignore[arg-type]
    finals = [r for r in results(session) if r.status == "final"]
    said, hole = finals[0], finals[1]
    assert (said.kind, said.start_ns, said.end_ns, said.reason) == ("utterance", 0, source._said_ns, "reconnect")
    assert (hole.kind, hole.start_ns, hole.end_ns) == ("hole", source._said_ns, resumes_ns)
    assert finals[-1].end_ns == ends_ns
    for name in ("audio", "activity"):
        counts = session.dispositions()[name]
        assert counts.used == counts.received > 0, name


def test_a_track_that_is_idle_is_not_waited_for() -> None:
    class Silent(Container):
        """Its camera gives nothing, and is told to be idle after a second."""

        def read(self) -> list[Item]:
            items = super().read()
            if self.ended:
                return items
            if isinstance(items[0], VideoFrame):
                return [StreamIdle(stream="video", at_ns=self.position_ns)] if items[0].sequence == 25 else []
            return items

    windows = TimelineSettings(segmentation=WindowSettings())
    given = results(open_session(Silent(4.0), timeline=windows))
    assert [(r.start_ns, r.status) for r in given if r.status == "final"] == [(0, "final"), (2 * NS_PER_SECOND, "final")]
    assert given[-2].modalities["video"].absence == "idle"
