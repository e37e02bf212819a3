"""What a recording holds: its topics, its head and its end, and media as the demuxer gave it; docs/recording.md explains."""

from __future__ import annotations

from typing import Annotated, Any, Final, NamedTuple

import msgspec

from stream.errors import RecordingError
from stream.prediction import ModelIdentity
from stream.timeline.dispositions import StreamDispositions
from stream.timeline.settings import (
    LineSettings,
    SegmentationName,
    TimelineSettings,
    UtteranceSettings,
    WindowSettings,
)
from stream.timeline.watermark import StreamDeclaration

RECORDING_VERSION: Final = 1
PROFILE: Final = "affectstream"

DOOR: Final = "/door"
MEDIA: Final = "/media"
RECONNECTED: Final = "/reconnected"
SOUND: Final = "/sound/"
"""And the name of the audio stream."""
PICTURE: Final = "/picture/"
"""And the name of the video stream."""
SPEECH: Final = "/speech"
AFFECT: Final = "/affect"
PREDICTIONS: Final = "/predictions"
CLOCKS: Final = "/clocks"

HEAD: Final = "affectstream.session"
END: Final = "affectstream.end"
"""Names of the two metadata records."""
MEDIA_HEAD: Final = "affectstream.media"
TRANSCRIPT: Final = "affectstream.transcript"
"""Names of attachments: what is needed to decode the media, and a given transcript as it was."""


class ClockObservation(NamedTuple):
    """A packet of a live stream as it came: the stamp of its end by its device, and its arrival in session time."""

    stream: str
    stamp_ns: int
    arrival_ns: int


class BatchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How segment operators were called: the most segments a call takes, and on what."""

    speech: int
    affect: int
    device: str


class RecordingHead(msgspec.Struct, frozen=True, kw_only=True):
    """What a recording starts with: all that a replay needs besides the door's entries.

    `source` is shown without user, password and query. `origin_ns` is the wall clock of session time zero, nanoseconds
    since 1970, 0 where it is unknown: messages are logged at `origin_ns` + session time. `model` is the one whose face
    features are recorded, and that predicted where something was predicted. `live`: on the monotonic clock, so that packets
    do not lie where their media have them.
    """

    version: int = RECORDING_VERSION
    session: str
    source: str
    origin_ns: int = 0
    streams: tuple[StreamDeclaration, ...]
    segmentation: SegmentationName
    timeline: dict[str, Any]
    provisionals: bool
    batches: BatchPlan
    model: ModelIdentity
    transcriber: str
    live: bool = False

    def timeline_settings(self) -> TimelineSettings:
        """The settings that `timeline` holds. Raises `RecordingError` where they are none."""
        policy = {"utterances": UtteranceSettings, "windows": WindowSettings, "lines": LineSettings}[self.segmentation]
        numbers = {name: value for name, value in self.timeline.items() if name != "segmentation"}
        try:
            segmentation = msgspec.convert(self.timeline.get("segmentation"), policy)
            return TimelineSettings(segmentation=segmentation, **msgspec.convert(numbers, dict[str, int]))
        except (msgspec.ValidationError, TypeError) as error:
            raise RecordingError("the recorded settings", found=str(error), expected="those of this version") from error


class RecordingEnd(msgspec.Struct, frozen=True, kw_only=True):
    """What a recording ends with. `lost` counts what could not be kept up with, by topic; `cut` is the source's.

    `complete`: the session came to its own end; otherwise it was stopped, or failed, and what had been decided by then may
    have no prediction.
    """

    complete: bool
    dispositions: dict[str, StreamDispositions]
    lost: dict[str, int] = {}
    cut: str | None = None
    notices: tuple[str, ...] = ()


Ticks = Annotated[int, msgspec.Meta(ge=-(1 << 62), le=1 << 62)]


class MediaPacket(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A compressed packet as the demuxer gave it: times in ticks of its track's time base, side data by FFmpeg's names.

    `data` None is the empty packet that flushes a decoder. `part` counts the connections of a live source.
    """

    track: Annotated[int, msgspec.Meta(ge=0, lt=2)]
    pts: Ticks | None
    dts: Ticks | None
    duration: Ticks
    key: bool
    data: bytes | None
    side: dict[str, bytes] = {}
    part: Annotated[int, msgspec.Meta(ge=0)] = 0


class MediaHead(msgspec.Struct, frozen=True, kw_only=True):
    """What decodes the media: the streams of its tracks, what their container stated, and their codecs' parameters.

    `parameters` is a container (NUT) with these tracks, in this order, and without their media.
    """

    streams: tuple[str, ...]
    facts: dict[str, Any]
    parameters: bytes


class Reconnected(msgspec.Struct, frozen=True, kw_only=True):
    """A live source was connected anew, at `at_ns` of session time: what decodes the media packets of this `part`."""

    part: Annotated[int, msgspec.Meta(ge=1)]
    at_ns: Annotated[int, msgspec.Meta(ge=0)]
    head: MediaHead


class RecordedMessage(NamedTuple):
    """One message of a recording; `log_ns` in session time."""

    topic: str
    log_ns: int
    data: bytes


def segmentation_name(timeline: TimelineSettings) -> SegmentationName:
    """The policy that these settings follow."""
    if isinstance(timeline.segmentation, UtteranceSettings):
        return "utterances"
    return "windows" if isinstance(timeline.segmentation, WindowSettings) else "lines"


def plot_schema(description: str, **fields: str) -> dict[str, Any]:
    """The JSON Schema of a message of numbers, any of which may be missing."""
    numbers = {name: {"type": "number", "description": text} for name, text in fields.items()}
    return {"type": "object", "description": description, "properties": numbers}
