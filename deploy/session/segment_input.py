"""From a revision of the aligner to what the segment operators see."""

from __future__ import annotations

import numpy as np

from operators.interface import SegmentInput
from stream.timeline.membership import audio_samples
from stream.timeline.packets import Faces, Modality, SpeechActivity, Word
from stream.timeline.segments import Revision
from stream.timeline.settings import UtteranceSettings


def segment_input(revision: Revision, utterance: UtteranceSettings, shed: tuple[Modality, ...] = ()) -> SegmentInput:
    """The segment's audio, speech, faces and words, but for what is `shed`.

    `utterance` says from when on a step is speech, and how it is padded.
    """
    audio = revision.slice_of(Modality.AUDIO)
    video = revision.slice_of(Modality.VIDEO)
    text = revision.slice_of(Modality.TEXT)
    activity = revision.slice_of(Modality.ACTIVITY)
    samples, sample_mask = audio_samples(audio.packets if audio else (), revision.span)
    steps = [p for p in activity.packets if isinstance(p, SpeechActivity)] if activity else []
    return SegmentInput(
        kind=revision.kind,
        status=revision.status,
        start_ns=revision.start_ns,
        end_ns=revision.end_ns,
        continues=revision.continues,
        audio_state=audio.state if audio else "absent",
        samples=samples,
        sample_mask=sample_mask,
        speech=np.array([step.probability for step in steps], dtype=np.float32),
        speech_ns=_speech_span(revision, steps, utterance),
        video_state=video.state if video else "absent",
        video_coverage=video.coverage if video else 0.0,
        faces=tuple(p for p in video.packets if isinstance(p, Faces)) if video and Modality.VIDEO not in shed else (),
        text_state=text.state if text else None,
        words=tuple(p for p in text.packets if isinstance(p, Word)) if text else (),
        shed=shed,
    )


def same_sound(left: SegmentInput, right: SegmentInput) -> bool:
    """Whether two inputs are alike in all that the speech stage looks at, and what was heard of the first is enough."""
    return (
        left.start_ns == right.start_ns
        and left.speech_ns == right.speech_ns
        and (left.text_state is None) == (right.text_state is None)
        and (Modality.TEXT not in left.shed or Modality.TEXT in right.shed)
        and np.array_equal(left.samples, right.samples)
    )


def _speech_span(revision: Revision, steps: list[SpeechActivity], utterance: UtteranceSettings) -> tuple[int, int] | None:
    """The padded span of speech inside the segment; None where there is less than the shortest utterance of it."""
    if revision.kind == "utterance":
        return revision.start_ns, revision.end_ns
    if revision.kind == "silence":
        return None
    spoken = [step for step in steps if not step.masked and step.probability >= utterance.threshold]
    if sum(step.end_ns - step.start_ns for step in spoken) < utterance.shortest_ns:
        return None
    return (
        max(revision.start_ns, spoken[0].start_ns - utterance.pad_ns),
        min(revision.end_ns, spoken[-1].end_ns + utterance.pad_ns),
    )
