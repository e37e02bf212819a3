"""Whose affect a segment shows: the active speaker, the largest face where that can't be judged, or nobody."""

from __future__ import annotations

from collections import Counter, defaultdict

from operators.faces.speaker import SpeakerSettings, SpeakerWeights, certainties
from operators.interface import SegmentInput, largest_face
from stream.prediction import Subject
from stream.timeline.packets import Mouths
from stream.timeline.time import NS_PER_SAMPLE


def subject_of(segment: SegmentInput, weights: SpeakerWeights, settings: SpeakerSettings | None = None) -> Subject | None:
    """The subject of a segment; None where nobody was looked for or seen.

    Where somebody speaks and mouths could be followed, it is the face that is most likely heard, or unknown where that is
    less certain than `settings` wants; either way with the licence of the weights that told it. In silence, with one face and
    without frames enough it is the largest face.
    """
    settings = settings or SpeakerSettings()
    largest = subject_track(segment)
    if largest is None:
        return Subject(method="unknown") if segment.faces else None
    certain = speaker_certainties(segment, weights, settings)
    if not certain:
        return Subject(method="largest-face", track=largest)
    track = max(certain, key=lambda each: (certain[each], -each))
    if certain[track] < settings.certain:
        return Subject(method="unknown", licence=weights.licence)
    return Subject(method="active-speaker", track=track, certainty=certain[track], licence=weights.licence)


def speaker_certainties(
    segment: SegmentInput, weights: SpeakerWeights, settings: SpeakerSettings | None = None
) -> dict[int, float]:
    """How certain it is of each track that it is heard in the segment; empty where none can be judged."""
    mouths: dict[int, list[Mouths]] = defaultdict(list)
    for frame in segment.faces:
        for face in frame.faces:
            if face.mouths is not None:
                mouths[face.track].append(face.mouths)
    if segment.speech_ns is None or not mouths:
        return {}
    first, last = ((edge_ns - segment.start_ns) // NS_PER_SAMPLE for edge_ns in segment.speech_ns)
    start_ns = segment.start_ns + first * NS_PER_SAMPLE
    return certainties(mouths, segment.samples[first:last], start_ns, weights, settings)


def subject_track(segment: SegmentInput) -> int | None:
    """The track that is the largest face in most frames, of those in equally many the oldest; None without a face."""
    largest = Counter(face.track for frame in segment.faces if (face := largest_face(frame)) is not None)
    return min(largest, key=lambda track: (-largest[track], track), default=None)
