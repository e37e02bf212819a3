"""The face operator: on some frames of a video stream, who is visible, where, and the features of each face."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np

from operators.faces.crops import aligned_crop, crop_size
from operators.faces.detection import Detections, detection_size
from operators.faces.mouths import MouthRecorder, MouthSettings
from operators.faces.tracking import Tracker, TrackingSettings
from stream.errors import OperatorError
from stream.timeline.packets import Bound, Control, Face, Faces, FrameImage, Packet, VideoFrame
from stream.timeline.time import NS_PER_SECOND


class FaceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How often faces are looked for, and how many are kept."""

    rate: int = 5
    """Frames a second that are looked at: an expression lasts for half a second and longer."""
    most_faces: int = 8
    """The largest so many faces of a frame are kept: what a crowd costs is bounded."""
    tracking: TrackingSettings = TrackingSettings()
    mouths: MouthSettings = MouthSettings()


class FaceOperator:
    """VideoFrame to Faces, on the first frame at or after each k / rate of the timeline.

    The grid lies on the timeline, not on the frames, so that a dropped frame shifts no later pick. `sampled` counts the
    frames between picks, which give a bound and nothing else: where several people are visible, their mouths in it come
    with the next pick, which no bound has passed by then. `detect` and `encode` are stateless and may run elsewhere:
    `detect` turns a uint8 (h, w, 3) RGB picture into `Detections`, `encode` uint8 (n, 48, 48) crops into float32 (n, d):
    it is called once for all faces of several picks that are completed together.
    """

    name = "faces"
    lookback_ns = 0

    def __init__(
        self,
        detect: Callable[[np.ndarray], Detections],
        encode: Callable[[np.ndarray], np.ndarray],
        *,
        settings: FaceSettings | None = None,
        stream: str = "video",
        output: str = "video",
    ) -> None:
        self.output = output
        self.sampled = 0
        self.rate = (settings or FaceSettings()).rate
        """Picks a second; may be changed at any time, since the grid is counted from the timeline's zero."""
        self._settings = settings or FaceSettings()
        self._stream = stream
        self._detect = detect
        self._encode = encode
        self._tracker = Tracker(self._settings.tracking)
        self._mouths = MouthRecorder(self._settings.mouths)
        self._last_ns: int | None = None

    def process(self, packet: Packet) -> Iterator[Packet | Control]:
        """A frame's faces, the largest first and without features, where it is picked; a bound at the frame in any case."""
        if not isinstance(packet, VideoFrame) or packet.stream != self._stream:
            raise OperatorError(
                f"operator {self.name}",
                found=f"{type(packet).__name__} of {packet.stream}",
                expected=f"VideoFrame of {self._stream}",
            )
        if self._picks(packet.start_ns):
            self._last_ns = packet.start_ns
            yield Faces(
                stream=self.output,
                epoch=packet.epoch,
                sequence=packet.sequence,
                start_ns=packet.start_ns,
                end_ns=packet.end_ns,
                faces=self._faces(packet.image, packet.start_ns),
            )
        else:
            self.sampled += 1
            self._mouths.see(packet.image, packet.start_ns)
        yield from self.bound(packet.start_ns)

    def complete(self, packets: Sequence[Packet]) -> list[Packet]:
        """The same `Faces` with the feature of each face."""
        crops = [face.crop for packet in packets if isinstance(packet, Faces) for face in packet.faces]
        features = iter(self._encode(np.stack(crops)) if crops else ())
        return [_with_features(packet, features) if isinstance(packet, Faces) else packet for packet in packets]

    def bound(self, bound_ns: int) -> Iterator[Control]:
        """The input's bound as it is."""
        yield Bound(stream=self.output, bound_ns=bound_ns)

    def finish(self, at_ns: int) -> Iterator[Control]:
        """The input has ended: nothing is held back."""
        yield from self.bound(at_ns)

    def reset(self, epoch: int, at_ns: int) -> tuple[()]:  # noqa: ARG002 - frames carry their epoch
        """A new source epoch: nobody is followed across it; picks go on at the next k / rate from `at_ns` on."""
        self._tracker.forget()
        self._mouths.forget()
        self._last_ns = at_ns - 1
        return ()

    def landmarks_at(self, track: int, at_ns: int) -> np.ndarray | None:
        """Landmarks of a track between picks, float32 (5, 2) shares of the picture; None where it was not seen around."""
        return self._tracker.landmarks_at(track, at_ns)

    def _picks(self, at_ns: int) -> bool:
        if self._last_ns is None:
            return True
        return at_ns * self.rate // NS_PER_SECOND > self._last_ns * self.rate // NS_PER_SECOND

    def _faces(self, image: FrameImage, at_ns: int) -> tuple[Face, ...]:
        aspect = image.width / image.height
        size = detection_size(image.width, image.height)
        picture = image.rgb(*size)
        found = self._detect(picture).largest(self._settings.most_faces)
        tracks = self._tracker.update(found, at_ns, aspect=aspect)
        if not tracks:
            self._mouths.forget()
            return ()
        enlarged = crop_size(found.landmarks, size, (image.width, image.height))
        if enlarged != size:
            picture = image.rgb(*enlarged)
        faces = [
            Face(
                track=track,
                score=float(score),
                box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                landmarks=landmarks,
                crop=aligned_crop(picture, landmarks, aspect=aspect),
            )
            for track, score, box, landmarks in zip(tracks, found.scores, found.boxes, found.landmarks, strict=True)
        ]
        return self._mouths.pick(faces, image, at_ns, self._tracker)


def _with_features(packet: Faces, features: Iterator[np.ndarray]) -> Faces:
    """The faces of a packet, each with the next of the features."""
    replace = msgspec.structs.replace
    return replace(packet, faces=tuple(replace(face, feature=next(features)) for face in packet.faces))
