"""Labelled rows as segments of one modality, so that they are judged by the very model that runs live."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from operators.interface import AffectResult, SegmentInput, SpeechResult
from operators.model import AffectModel
from operators.voice_activity import SileroNetwork, VoiceActivityOperator
from stream.errors import ModelFolderError
from stream.timeline.packets import AudioChunk, Face, Faces, SpeechActivity, Word
from stream.timeline.settings import UtteranceSettings
from stream.timeline.time import NS_PER_SAMPLE, SAMPLE_RATE

NOTHING_HEARD = SpeechResult(states=None, transcript=None)
BATCH = 64
"""Rows that go through the model together; on a CPU each is byte-equal whatever its neighbours."""


def text_segment(text: str) -> SegmentInput:
    """A silent second in which `text` is given."""
    return _segment(np.zeros(SAMPLE_RATE, np.int16), text=text)


def face_segment(crop: np.ndarray, feature: np.ndarray) -> SegmentInput:
    """A silent second with one face: its uint8 (48, 48) crop and its features float32 (d,)."""
    landmarks = np.zeros((5, 2), np.float32)
    face = Face(track=0, score=1.0, box=(0.0, 0.0, 1.0, 1.0), landmarks=landmarks, crop=crop, feature=feature)
    return _segment(np.zeros(SAMPLE_RATE, np.int16), face=face)


def speech_segment(samples: np.ndarray, network: SileroNetwork) -> tuple[SegmentInput, bool]:
    """A recording int16 (n,) at 16 kHz with the speech that is heard in it, padded as live, and whether any was heard.

    All of it counts as speech where the voice detector hears none.
    """
    settings, end_ns = UtteranceSettings(), len(samples) * NS_PER_SAMPLE
    chunk = AudioChunk(stream="audio", sequence=0, start_ns=0, end_ns=end_ns, samples=samples, first_sample=0)
    operator = VoiceActivityOperator(network)
    steps = [step for step in (*operator.process(chunk), *operator.finish(end_ns)) if isinstance(step, SpeechActivity)]
    speech = [step for step in steps if step.probability >= settings.threshold]
    span = (0, end_ns)
    if speech:
        span = max(0, speech[0].start_ns - settings.pad_ns), min(end_ns, speech[-1].end_ns + settings.pad_ns)
    activity = np.array([step.probability for step in steps], np.float32)
    return _segment(samples, speech=activity, speech_ns=span), bool(speech)


def judge(model: AffectModel, batch: Sequence[tuple[SegmentInput, SpeechResult]], part: str) -> list[AffectResult]:
    """What the model says of each segment. Raises `ModelFolderError` where it has no part that reads it."""
    results = model.infer(batch)
    if any(result.emotions is None for result in results):
        raise ModelFolderError(f"model {model.name}", found=f"no part that reads {part}", fix="give --model another folder")
    return results


def emotions_of(results: Sequence[AffectResult]) -> np.ndarray:
    """The emotions that results have, float32 (n, 7)."""
    return np.stack([result.emotions for result in results if result.emotions is not None])


def _segment(
    samples: np.ndarray,
    *,
    speech: np.ndarray | None = None,
    speech_ns: tuple[int, int] | None = None,
    text: str | None = None,
    face: Face | None = None,
) -> SegmentInput:
    end_ns = len(samples) * NS_PER_SAMPLE
    words = () if text is None else (Word(stream="text", sequence=0, start_ns=0, end_ns=end_ns, text=text),)
    frames = () if face is None else (Faces(stream="video", sequence=0, start_ns=0, end_ns=0, faces=(face,)),)
    return SegmentInput(
        kind="window",
        status="final",
        start_ns=0,
        end_ns=end_ns,
        continues=False,
        audio_state="present",
        samples=samples,
        sample_mask=np.ones(len(samples), np.bool_),
        speech=np.zeros(0, np.float32) if speech is None else speech,
        speech_ns=speech_ns,
        video_state="present" if frames else "absent",
        video_coverage=float(bool(frames)),
        faces=frames,
        text_state="present" if words else "absent",
        words=words,
    )
