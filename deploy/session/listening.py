"""Who is taken to speak in a segment, for the listeners' lanes: the very judgement that its prediction states."""

from __future__ import annotations

from collections.abc import Callable

from deploy.session.segment_input import segment_input
from operators.faces.speaker_folder import load_speaker_weights
from operators.faces.subject import subject_of
from stream.timeline.segments import Revision
from stream.timeline.settings import TimelineSettings, UtteranceSettings


def speaking_track(timeline: TimelineSettings) -> Callable[[Revision], int | None]:
    """A function of a revision of the speech lane: the face track that is its subject, None where nobody is."""
    utterance = timeline.segmentation if isinstance(timeline.segmentation, UtteranceSettings) else UtteranceSettings()

    def track(revision: Revision) -> int | None:
        found = subject_of(segment_input(revision, utterance), load_speaker_weights())
        return found.track if found else None

    return track
