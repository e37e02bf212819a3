"""A recorded session once more from its media, stream operators and all, and which transcriber it had."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import get_args

from deploy.inline import InlineSession, LoadedOperators, TranscriberName
from deploy.reconnected_media import ReconnectedMedia
from deploy.recorded_media import recorded_source
from deploy.settings import Settings
from stream.errors import RecordingError
from stream.recording.reader import Recording
from stream.sources.transcript import TranscriptSource


def rerun_session(recording: Recording, operators: LoadedOperators, *, realtime: bool = False) -> InlineSession:
    """The session of a recording on its media, and its given transcript. Raises `RecordingError` where it has no media."""
    head = recording.head
    return InlineSession(
        ReconnectedMedia(recording) if any(recording.reconnections()) else recorded_source(recording),
        _transcript(recording),
        operators,
        session=head.session,
        settings=Settings(timeline=head.timeline_settings()),
        pace="realtime" if realtime else "fast",
        provisional=head.provisionals,
        predict=True,
        owns_operators=False,
        recorder=None,
    )


def recorded_transcriber(recording: Recording) -> TranscriberName:
    """The transcriber that the recorded session used. Raises `RecordingError` where this version has no such."""
    for name in get_args(TranscriberName):
        if name == recording.head.transcriber:
            found: TranscriberName = name
            return found
    raise RecordingError(
        "the recorded transcriber", found=repr(recording.head.transcriber), expected=" or ".join(get_args(TranscriberName))
    )


def _transcript(recording: Recording) -> TranscriptSource | None:
    if recording.transcript is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "transcript"
        path.write_bytes(recording.transcript)
        return TranscriptSource(path)
