"""What an inline session is recorded in: a file, or a live one the ring of its last minutes."""

from __future__ import annotations

import os
from pathlib import Path

from deploy.recorded_media import media_head, packets_to
from deploy.session.recorder import RecordingSink, ThreadedRecorder
from stream.errors import RecordingError
from stream.recording.messages import Batch
from stream.recording.ring import Ring, RingSettings
from stream.recording.schemas import MediaHead, Reconnected, RecordingEnd, RecordingHead
from stream.recording.writer import RecordingWriter
from stream.sources.media import MediaSource


def check_target(path: str | Path, *given: str | None) -> None:
    """Raises `RecordingError` where a recording can't be written there, or is one of the files that are `given`."""
    target = Path(path)
    if any(name and target.exists() and Path(name).exists() and target.samefile(name) for name in given):
        raise RecordingError(f"recording {path}", found="the source itself", fix="choose another file")
    folder = target if target.exists() else target.parent
    if target.is_dir() or not os.access(folder, os.W_OK):
        found = "a directory" if target.is_dir() else "no permission" if folder.exists() else "no such directory"
        raise RecordingError(f"recording {path}", found=found, expected="a file that can be written", fix="choose another")


def record_to(
    path: str | Path,
    head: RecordingHead,
    *,
    media: MediaSource | None = None,
    transcript: str | None = None,
    waits: bool = True,
) -> ThreadedRecorder:
    """A recorder that writes a file. Raises `RecordingError`.

    It records the media's packets as they are read. The transcript that was given is kept as it is. `waits`: where the disk is
    slow the session waits for it.
    """
    writer = RecordingWriter(path, head)
    described = None if media is None else media_head(media)
    try:
        if described is not None:
            writer.media_head(described)
        if transcript is not None:
            writer.transcript(Path(transcript).read_bytes())
    except OSError as error:
        writer.close()
        raise RecordingError(f"recording {path}", found=error.strerror, expected="room for it") from error
    recorder = ThreadedRecorder(writer, waits=waits, notices=_without_media(media, described))
    if media is not None and described is not None:
        media.tap = packets_to(media, recorder.media)
    return recorder


def record_on(recorder: ThreadedRecorder, media: MediaSource, *, part: int, at_ns: int) -> None:
    """Records the packets of a live source that was connected anew, for the `part`-th time, at `at_ns` of session time."""
    described = media_head(media)
    if described is None:
        recorder.notices = (*recorder.notices, *_without_media(media, described))
        return
    recorder.reconnected(Reconnected(part=part, at_ns=at_ns, head=described))
    media.tap = packets_to(media, recorder.media, part=part)


def keep_newest(head: RecordingHead, settings: RingSettings, *, media: MediaSource) -> tuple[Ring, ThreadedRecorder]:
    """A ring of a live session's last minutes, and the recorder that fills it, for which nothing waits.

    The ring outlives the recorder: close it when nobody will save it any more.
    """
    described = media_head(media)
    notices = _without_media(media, described)
    ring = Ring(head, settings, media=described, notices=notices)
    recorder = ThreadedRecorder(_Lasting(ring), waits=False, notices=notices)
    if described is not None:
        media.tap = packets_to(media, recorder.media)
    return ring, recorder


def _without_media(media: MediaSource | None, described: MediaHead | None) -> tuple[str, ...]:
    """What is to be said where there are media and nothing that decodes them can be written down."""
    if media is None or described is not None:
        return ()
    codecs = " and ".join(track.codec_context.name for track in media.tracks)
    return (f"media of {codecs} can't be recorded: replay --from-media and the report's player will lack them",)


class _Lasting(RecordingSink):
    """A ring that does not end with its recorder."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring

    def write(self, batch: Batch) -> None:
        self._ring.write(batch)

    def finish(self, end: RecordingEnd) -> None:
        self._ring.finish(end)

    def close(self) -> None:
        pass
