"""Mouths at frame rate: small grey pictures of the mouths of several visible people, for who of them speaks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import cv2
import msgspec
import numpy as np

from operators.faces.crops import EYE_DISTANCE, PLACES, centred, similarity
from operators.faces.tracking import Tracker
from stream.timeline.packets import Face, FrameImage, Mouths

SIDE: Final = 32
_MIDDLE: Final = np.array([24.0, 37.0], np.float32)
"""The middle of the mouth where a face has its landmarks in `PLACES`."""
_SCALE: Final = 1.2
"""Pixels per pixel of a face's crop: nose, chin and cheeks are in the picture, so that it shows the jaw move too."""
_MARGIN: Final = 0.4
"""How much of a face's size it may move until the next pick without leaving what is kept of the picture."""


class MouthSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When mouths are looked at."""

    fewest_faces: int = 2
    """With one face visible nobody asks who of them speaks, and frames between picks cost nothing."""
    most_held: int = 32
    """Frames held between two picks; with more, as of a source of high rate, the oldest are let go."""


class MouthRecorder:
    """Keeps what surrounds each face in the frames between two picks, and cuts mouths out of it at the next pick.

    Only then is known where the face was meanwhile. Holds parts of pictures, no frames, and never more than of
    `most_held` frames.
    """

    def __init__(self, settings: MouthSettings | None = None) -> None:
        self._settings = settings or MouthSettings()
        self._boxes: dict[int, Sequence[float]] = {}
        self._held: deque[tuple[int, dict[int, _Region]]] = deque(maxlen=self._settings.most_held)

    def forget(self) -> None:
        """Nobody is expected any more."""
        self._boxes = {}
        self._held.clear()

    def see(self, image: FrameImage, at_ns: int) -> None:
        """A frame between picks: keeps what surrounds the faces of the last pick."""
        if self._boxes:
            grey = image.grey()
            self._held.append((at_ns, {track: _Region(grey, box) for track, box in self._boxes.items()}))

    def pick(self, faces: Iterable[Face], image: FrameImage, at_ns: int, tracker: Tracker) -> tuple[Face, ...]:
        """The faces of a picked frame with their mouths since the pick before, as far as they could be followed."""
        faces = tuple(faces)
        held = list(self._held)
        self.forget()
        if len(faces) < self._settings.fewest_faces:
            return faces
        grey = image.grey()
        size = np.array([grey.shape[1], grey.shape[0]], np.float32)
        self._boxes = {face.track: face.box for face in faces}
        return tuple(msgspec.structs.replace(face, mouths=_mouths(face, held, grey, at_ns, tracker, size)) for face in faces)


class _Region:
    """The part of a grey uint8 (h, w) picture around a box in shares of it, and where it lies."""

    def __init__(self, grey: np.ndarray, box: Sequence[float]) -> None:
        height, width = grey.shape
        x1, y1, x2, y2 = box
        side, rise = (x2 - x1) * _MARGIN, (y2 - y1) * _MARGIN
        left, right = max(0, int((x1 - side) * width)), min(width, int((x2 + side) * width) + 1)
        top, bottom = max(0, int((y1 - rise) * height)), min(height, int((y2 + rise) * height) + 1)
        self.origin = np.array([left, top], np.float32)
        self.pixels = grey[top:bottom, left:right].copy()


def _mouths(
    face: Face, held: list[tuple[int, dict[int, _Region]]], grey: np.ndarray, at_ns: int, tracker: Tracker, size: np.ndarray
) -> Mouths:
    times_ns, crops = [], []
    for held_ns, regions in held:
        landmarks = tracker.landmarks_at(face.track, held_ns)
        if landmarks is not None and face.track in regions:
            region = regions[face.track]
            times_ns.append(held_ns)
            crops.append(mouth_crop(region.pixels, landmarks * size - region.origin))
    times_ns.append(at_ns)
    region = _Region(grey, face.box)
    crops.append(mouth_crop(region.pixels, face.landmarks * size - region.origin))
    return Mouths(times_ns=np.array(times_ns, np.int64), crops=np.stack(crops))


def mouth_crop(grey: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The mouth uint8 (32, 32) of the face with float32 (5, 2) landmarks, pixels from the edge of a uint8 (h, w) picture."""
    # Warped at a whole multiple of the crop's size and then averaged down, as `aligned_crop` does.
    enlarged = int(np.clip(np.ceil(np.linalg.norm(points[1] - points[0]) / (EYE_DISTANCE * _SCALE)), 1, 8))
    scale = _SCALE * enlarged
    matrix = similarity(points, (PLACES - _MIDDLE) * scale + SIDE * enlarged / 2)
    side = SIDE * enlarged
    warped = cv2.warpAffine(grey, centred(matrix), (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    crop: np.ndarray = cv2.resize(warped, (SIDE, SIDE), interpolation=cv2.INTER_AREA) if enlarged > 1 else warped
    return crop
