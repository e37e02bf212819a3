"""Packets: time-stamped units of a stream, and the controls that promise something about what follows."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Protocol

import msgspec
import numpy as np

from stream.timeline.time import ACTIVITY_STEP_NS, NS_PER_SAMPLE


class Modality(StrEnum):
    """What a stream carries. `ACTIVITY` is the voice detector's stream, derived from audio."""

    VIDEO = "video"
    AUDIO = "audio"
    TEXT = "text"
    ACTIVITY = "activity"


class FrameImage(Protocol):
    """An opaque picture, converted only where someone looks at it."""

    width: int
    height: int

    def rgb(self, width: int, height: int) -> np.ndarray:
        """The picture scaled to (height, width, 3), uint8 RGB."""
        ...

    def grey(self) -> np.ndarray:
        """The picture as it is, uint8 (height, width), its brightness; may be a view of it, so not to be written to."""
        ...


class Packet(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A time-stamped unit of the stream named `stream`, half-open [start_ns, end_ns) of session time.

    `epoch` is the source epoch, `sequence` grows by one per packet of that stream. Packets that hold arrays are
    compared by a named function, never by `==`.
    """

    stream: str
    epoch: int = 0
    sequence: int
    start_ns: int
    end_ns: int


class VideoFrame(Packet, frozen=True, kw_only=True, eq=False):
    """One decoded picture; an instant (`end_ns == start_ns`). Never leaves the process that decoded it."""

    image: FrameImage


class AudioChunk(Packet, frozen=True, kw_only=True, eq=False):
    """Consecutive samples at 16 kHz mono.

    `samples` is int16 (n,); `first_sample` counts from the source epoch's first sample; `filled` marks a gap that was
    filled by count (zeros, masked everywhere).
    """

    samples: np.ndarray
    first_sample: int
    filled: bool = False

    def slice_samples(self, start_ns: int, end_ns: int) -> np.ndarray:
        """The samples whose instants lie in [start_ns, end_ns): int16 view (m,)."""
        first = max(0, -((self.start_ns - start_ns) // NS_PER_SAMPLE))
        last = max(0, -((self.start_ns - end_ns) // NS_PER_SAMPLE))
        return self.samples[first:last]


class SpeechActivity(Packet, frozen=True, kw_only=True, eq=False):
    """One step of the voice detector's 512-sample grid: the probability of speech in [0, 1]; `masked` inside a gap."""

    probability: float
    masked: bool = False


class Word(Packet, frozen=True, kw_only=True, eq=False):
    """One word; `estimated` where its times were not measured; `confidence` in [0, 1] where known."""

    text: str
    estimated: bool = False
    confidence: float | None = None


class Mouths(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The mouth of one person in the frames since the pick before, the picked one last.

    `times_ns` is int64 (k,), growing; `crops` uint8 (k, 32, 32), grey, aligned by landmarks interpolated between the picks.
    """

    times_ns: np.ndarray
    crops: np.ndarray


class Face(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One visible face at one instant.

    `track` is stable over the session and never used again. `box` is (x1, y1, x2, y2) and `landmarks` float32 (5, 2)
    (left eye, right eye, nose, mouth corners), both as shares of the picture's width and height. `crop` is uint8
    (48, 48), grey, aligned by the landmarks and histogram-equalised. `feature` is float32 (d,), put in by the face
    encoder; None before. `mouths` are of the frames since the pick before, so they may lie before the segment to which the
    pick belongs; None where fewer than two faces are visible.
    """

    track: int
    score: float
    box: tuple[float, float, float, float]
    landmarks: np.ndarray
    crop: np.ndarray
    feature: np.ndarray | None = None
    mouths: Mouths | None = None


class Faces(Packet, frozen=True, kw_only=True, eq=False):
    """The faces of one picked video frame (an instant); empty where nobody is visible. The largest comes first."""

    faces: tuple[Face, ...]


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A promise: nothing of `stream` that starts before `bound_ns` follows."""

    stream: str
    bound_ns: int


class StreamIdle(msgspec.Struct, frozen=True, kw_only=True):
    """`stream` (a declared source stream) is idle since `at_ns`: nobody waits for it, nor for what derives from it."""

    stream: str
    at_ns: int


class StreamActive(msgspec.Struct, frozen=True, kw_only=True):
    """`stream` is no longer idle."""

    stream: str
    at_ns: int


class StreamEnd(msgspec.Struct, frozen=True, kw_only=True):
    """`stream` has ended at `at_ns`; moves its own stream only."""

    stream: str
    at_ns: int


class EpochStart(msgspec.Struct, frozen=True, kw_only=True):
    """The named source streams begin source epoch `epoch` at `at_ns`, after a reconnect, reset or discontinuity.

    `epoch` is counted by the session: every EpochStart of any source takes the next number.
    """

    streams: tuple[str, ...]
    epoch: int
    at_ns: int


Control = Bound | StreamIdle | StreamActive | StreamEnd | EpochStart
Item = Packet | Control
"""What passes the aligner's door."""


def activity_end_ns(start_ns: int) -> int:
    """End of the voice detector's step that starts at `start_ns`."""
    return start_ns + ACTIVITY_STEP_NS


def packets_equal(left: Any, right: Any) -> bool:
    """Whether two packets (or faces) agree in type and in every field, arrays by content and dtype."""
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    if isinstance(left, tuple):
        return len(left) == len(right) and all(map(packets_equal, left, right))
    if isinstance(left, msgspec.Struct):
        return all(packets_equal(getattr(left, f), getattr(right, f)) for f in left.__struct_fields__)
    return bool(left == right)
