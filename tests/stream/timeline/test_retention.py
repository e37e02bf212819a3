"""What the aligner holds is bounded: a dead stream that everybody waits for is named, an idle one holds nothing back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from trace_strategies import Blank

from stream.errors import TimelineError
from stream.timeline.alignment import Aligner
from stream.timeline.packets import Bound, Item, Modality, StreamActive, StreamIdle, VideoFrame, Word
from stream.timeline.settings import LineSettings, SegmentationSettings, TimelineSettings, UtteranceSettings, WindowSettings
from stream.timeline.time import NS_PER_SECOND, Span
from stream.timeline.watermark import StreamDeclaration

S = NS_PER_SECOND
LINES = tuple(Span(k * 5 * S, (k * 5 + 3) * S) for k in range(40))
POLICIES = [UtteranceSettings(), WindowSettings(), LineSettings(lines=LINES)]
VIDEO = StreamDeclaration(name="video", modality=Modality.VIDEO)
AUDIO = StreamDeclaration(name="audio", modality=Modality.AUDIO)
ACTIVITY = StreamDeclaration(name="activity", modality=Modality.ACTIVITY, source="audio")
TEXT = StreamDeclaration(name="text", modality=Modality.TEXT)


def frames(seconds: int, audio_too: bool = False) -> Iterator[tuple[Item, int]]:
    """Four frames a second that arrive at once, and the bound of an audio stream that gives no packet."""
    for k in range(seconds * 4):
        at = k * S // 4
        yield VideoFrame(stream="video", sequence=k, start_ns=at, end_ns=at, image=Blank()), at
        if audio_too:
            yield Bound(stream="audio", bound_ns=at), at


def feed(aligner: Aligner, trace: Iterable[tuple[Item, int]]) -> None:
    for item, arrival_ns in trace:
        aligner.push(item, arrival_ns)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_dead_stream_is_named(policy: SegmentationSettings) -> None:
    aligner = Aligner([VIDEO, AUDIO], TimelineSettings(segmentation=policy))
    with pytest.raises(TimelineError, match="audio"):
        feed(aligner, frames(300))
    assert aligner.ledger.summary()["video"].received > aligner_limit(policy) // (S // 4)


def test_a_dead_voice_detector_is_named() -> None:
    aligner = Aligner([VIDEO, AUDIO, ACTIVITY], TimelineSettings())
    with pytest.raises(TimelineError, match="activity"):
        feed(aligner, frames(300, audio_too=True))


@pytest.mark.parametrize("policy", POLICIES)
def test_an_idle_stream_holds_nothing_back(policy: SegmentationSettings) -> None:
    aligner = Aligner([VIDEO, AUDIO, ACTIVITY], TimelineSettings(segmentation=policy))
    aligner.push(StreamIdle(stream="audio", at_ns=0), 0)
    feed(aligner, frames(300))
    assert aligner.ledger.summary()["video"].pending * S // 4 <= aligner_limit(policy)


@pytest.mark.parametrize("policy", POLICIES)
def test_words_that_never_come_hold_back_for_their_lateness_and_the_amendment(policy: SegmentationSettings) -> None:
    """Text is waited for in arrival time only, so that a silent caption stream is no dead stream."""
    aligner = Aligner([VIDEO, TEXT], TimelineSettings(segmentation=policy))
    aligner.push(Word(stream="text", sequence=0, start_ns=0, end_ns=S, text="so"), 0)
    feed(aligner, frames(300))
    assert aligner.ledger.summary()["text"].used == 1


def test_words_alone_wait_for_what_comes_back() -> None:
    aligner = Aligner([VIDEO, TEXT], TimelineSettings(segmentation=WindowSettings()))
    aligner.push(StreamIdle(stream="video", at_ns=0), 0)
    feed(aligner, [(Word(stream="text", sequence=k, start_ns=k * S, end_ns=k * S + 9, text="so"), k * S) for k in range(60)])
    aligner.push(StreamActive(stream="video", at_ns=60 * S), 60 * S)
    feed(aligner, [(Bound(stream=name, bound_ns=70 * S), 60 * S) for name in ("text", "video")])
    assert aligner.ledger.summary()["text"].used == 60


def aligner_limit(policy: SegmentationSettings) -> int:
    return TimelineSettings(segmentation=policy).retention_ns
