"""What a session came to."""

from __future__ import annotations

import msgspec

from stream.recording.schemas import RecordingEnd
from stream.timeline.dispositions import StreamDispositions


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


def recording_end(summary: SessionSummary, complete: bool) -> RecordingEnd:
    """The end of the session's recording; `complete`: it came to its own end."""
    return RecordingEnd(complete=complete, dispositions=summary.dispositions, cut=summary.cut, notices=summary.notices)
