from __future__ import annotations

import msgspec
import numpy as np
import pytest

from operators.faces import subject
from operators.faces.speaker import SpeakerWeights
from operators.faces.subject import speaker_certainties, subject_of, subject_track
from operators.interface import SegmentInput
from stream.prediction import Subject
from stream.timeline.packets import Face, Faces, Mouths
from stream.timeline.time import NS_PER_SECOND

WEIGHTS = SpeakerWeights(mouth=np.zeros((126, 1)), sound=np.zeros((50, 1)), gain=1.0, level=0.1, licence="any")
SPEECH = SegmentInput(
    kind="utterance",
    status="final",
    start_ns=0,
    end_ns=2 * NS_PER_SECOND,
    continues=False,
    audio_state="present",
    samples=np.zeros(32_000, np.int16),
    sample_mask=np.ones(32_000, np.bool_),
    speech=np.zeros(0, np.float32),
    speech_ns=(0, 2 * NS_PER_SECOND),
    video_state="present",
    video_coverage=1.0,
    faces=(),
    text_state=None,
    words=(),
)


def face(track: int, size: float, at_ns: int = 0, *, mouths: bool = True) -> Face:
    seen = Mouths(times_ns=np.array([at_ns], np.int64), crops=np.zeros((1, 32, 32), np.uint8))
    return Face(
        track=track,
        score=1,
        box=(0, 0, size, size),
        landmarks=np.zeros((5, 2), np.float32),
        crop=np.zeros((48, 48), np.uint8),
        mouths=seen if mouths else None,
    )


def segment(*frames: tuple[Face, ...]) -> SegmentInput:
    faces = tuple(Faces(stream="video", sequence=k, start_ns=k, end_ns=k, faces=each) for k, each in enumerate(frames))
    return msgspec.structs.replace(SPEECH, faces=faces)


def test_the_largest_in_most_frames_and_the_oldest_of_equals() -> None:
    small, large, new = face(1, 0.1), face(2, 0.5), face(3, 0.6)
    assert subject_track(segment((large, small), (large, small), (new, large), ())) == 2
    assert subject_track(segment((large, small), (new, large))) == 2
    assert subject_track(SPEECH) is None


@pytest.mark.parametrize(
    ("certain", "expected"),
    [
        ({1: 0.9, 2: 0.05}, Subject(method="active-speaker", track=1, certainty=0.9, licence="any")),
        ({1: 0.1, 2: 0.8}, Subject(method="active-speaker", track=2, certainty=0.8, licence="any")),
        ({1: 0.5, 2: 0.45}, Subject(method="unknown", licence="any")),
        ({}, Subject(method="largest-face", track=2)),
    ],
)
def test_certain_unknown_or_the_fallback(monkeypatch: pytest.MonkeyPatch, certain: dict[int, float], expected: Subject) -> None:
    monkeypatch.setattr(subject, "certainties", lambda *_: certain)
    assert subject_of(segment((face(1, 0.1), face(2, 0.5))), WEIGHTS) == expected


def test_in_silence_and_without_mouths_it_is_the_largest_face() -> None:
    frames = (face(1, 0.1), face(2, 0.5))
    silent = msgspec.structs.replace(segment(frames), kind="silence", speech_ns=None)
    alone = segment((face(1, 0.1, mouths=False),))
    assert subject_of(silent, WEIGHTS) == Subject(method="largest-face", track=2)
    assert subject_of(alone, WEIGHTS) == Subject(method="largest-face", track=1)
    assert speaker_certainties(silent, WEIGHTS) == speaker_certainties(alone, WEIGHTS) == {}


def test_where_nobody_is_seen_nobody_is_named() -> None:
    assert subject_of(SPEECH, WEIGHTS) is None
    assert subject_of(segment(()), WEIGHTS) == Subject(method="unknown")


def test_only_the_sound_of_speech_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def remember(mouths: dict[int, list[Mouths]], samples: np.ndarray, start_ns: int, *_: object) -> dict[int, float]:
        asked.append((sorted(mouths), [len(mouths[track]) for track in sorted(mouths)], samples.tolist(), start_ns))
        return {}

    monkeypatch.setattr(subject, "certainties", remember)
    given = msgspec.structs.replace(
        segment((face(1, 0.1), face(2, 0.5)), (face(1, 0.1),)),
        start_ns=NS_PER_SECOND,
        end_ns=3 * NS_PER_SECOND,
        samples=np.arange(32_000, dtype=np.int16),
        speech_ns=(NS_PER_SECOND + 62_500 * 10, NS_PER_SECOND + 62_500 * 13),
    )
    speaker_certainties(given, WEIGHTS)
    assert asked == [([1, 2], [2, 1], [10, 11, 12], NS_PER_SECOND + 625_000)]
