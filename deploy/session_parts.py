"""What a session of a container and a transcript consists of: its streams, their operators, its segmentation, its live door."""

from __future__ import annotations

from collections.abc import Callable

from deploy.loaded_operators import LoadedOperators
from deploy.session.live_reading import LiveReading
from deploy.settings import Settings
from operators.faces.operator import FaceOperator
from operators.interface import StreamOperator
from operators.voice_activity import VoiceActivityOperator
from stream.errors import SettingsError
from stream.sources.live import LiveContainer, LiveSource
from stream.sources.media import MediaSource
from stream.sources.readable import ReadableSource
from stream.sources.settings import TranscriptSettings
from stream.sources.transcript import TranscriptSource, read_lines
from stream.timeline.live import LiveDoor, LiveSettings
from stream.timeline.packets import Modality
from stream.timeline.settings import (
    LineSettings,
    SegmentationName,
    SegmentationSettings,
    UtteranceSettings,
    WindowSettings,
)
from stream.timeline.time import to_seconds
from stream.timeline.watermark import StreamDeclaration


def segmentation(name: SegmentationName, transcript: str | None, current: SegmentationSettings) -> SegmentationSettings:
    """The segmentation of that name, as in `current` if that is of the kind. Raises `InputError` for lines of no transcript."""
    if name == "lines":
        if transcript is None:
            raise SettingsError("segments by lines", found="no transcript", expected="one", fix="add --transcript FILE")
        return LineSettings(lines=read_lines(transcript))
    if name == "windows":
        return current if isinstance(current, WindowSettings) else WindowSettings()
    return current if isinstance(current, UtteranceSettings) else UtteranceSettings()


def declarations(media: ReadableSource, transcript: TranscriptSource | None) -> tuple[StreamDeclaration, ...]:
    """The streams of a session in order, the voice detector's included."""
    sources: list[ReadableSource] = [media] if transcript is None else [media, transcript]
    streams = [StreamDeclaration(name=s.name, modality=s.modality) for source in sources for s in source.streams]
    audio = next((s for s in streams if s.modality is Modality.AUDIO), None)
    if audio is not None:
        streams.append(StreamDeclaration(name="activity", modality=Modality.ACTIVITY, source=audio.name))
    return tuple(streams)


def overhang(media: ReadableSource, transcript: ReadableSource, settings: TranscriptSettings) -> str | None:
    """One line where the transcript goes on long after the media ended, which makes the session as long as itself."""
    over_ns = transcript.position_ns - media.position_ns
    if not media.ended or over_ns <= settings.max_overhang_ns:
        return None
    over_s, end_s = to_seconds(over_ns), to_seconds(transcript.position_ns)
    return f"transcript: its last words end {over_s:.0f} s after the media, at {end_s:.0f} s: is it another recording's?"


def stream_operators(
    streams: tuple[StreamDeclaration, ...], operators: LoadedOperators
) -> dict[str, tuple[StreamOperator, ...]]:
    """The operators of each source stream by its name."""
    found: dict[str, tuple[StreamOperator, ...]] = {}
    for stream in streams:
        if stream.modality is Modality.VIDEO:
            found[stream.name] = (FaceOperator(operators.detector, operators.model.face_encoder.infer, stream=stream.name),)
        elif stream.modality is Modality.AUDIO:
            found[stream.name] = (VoiceActivityOperator(operators.voice),)
    return found


def live_reading(
    media: ReadableSource,
    transcript: TranscriptSource | None,
    settings: Settings,
    now_ns: Callable[[], int],
    *,
    paced: bool,
    start_ns: int = 0,
    reopen: Callable[[], MediaSource] | None = None,
) -> LiveReading:
    """A container and its transcript on the monotonic clock; `paced`: files, read as if they came live; `reopen`: a network.

    `start_ns`: the session's time when they begin to be listened to.
    """
    sources: list[LiveSource] = [LiveContainer(media, pace=paced, reopen=reopen)]
    if transcript is not None:
        sources.append(LiveContainer(transcript, clock=None, pace=True))
    streams = [stream for source in sources for stream in source.live_streams]
    door = LiveDoor(streams, LiveSettings(idle_after_ns=settings.timeline.idle_after_ns), start_ns=start_ns)
    return LiveReading(sources, door, now_ns, settings.live)
