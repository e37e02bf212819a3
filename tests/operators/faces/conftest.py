from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from operators.faces.detection import CenterFaceDetector

WIDTH, HEIGHT = 640, 480


class Picture(msgspec.Struct, frozen=True, eq=False):
    """A decoded frame out of an array; remembers the sizes that it was converted to."""

    array: np.ndarray
    asked: list[tuple[int, int]] = msgspec.field(default_factory=list)

    @property
    def width(self) -> int:
        return int(self.array.shape[1])

    @property
    def height(self) -> int:
        return int(self.array.shape[0])

    def rgb(self, width: int, height: int) -> np.ndarray:
        self.asked.append((width, height))
        return cv2.resize(self.array, (width, height), interpolation=cv2.INTER_AREA)

    def grey(self) -> np.ndarray:
        return cv2.cvtColor(self.array, cv2.COLOR_RGB2GRAY)


@pytest.fixture(scope="session")
def picture() -> Callable[[np.ndarray], Picture]:
    return Picture


@pytest.fixture(scope="session")
def detector() -> CenterFaceDetector:
    return CenterFaceDetector()


@pytest.fixture(scope="session")
def face() -> np.ndarray:
    """A real face, uint8 (170, 140, 3) RGB: the astronaut of scikit-image, on which the face detector's package depends."""
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.submodule_search_locations
    photograph = cv2.imread(str(Path(spec.submodule_search_locations[0]) / "data" / "astronaut.png"))
    return cv2.cvtColor(photograph[30:200, 160:300], cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="session")
def canvas() -> Callable[..., np.ndarray]:
    """Faces pasted with their middle at (x, y) pixels, later ones in front, on a grey uint8 (480, 640, 3) picture."""

    def compose(*placed: tuple[np.ndarray, float, float]) -> np.ndarray:
        picture = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)
        for face, x, y in placed:
            height, width = face.shape[:2]
            left, top = int(x - width / 2), int(y - height / 2)
            x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + width, WIDTH), min(top + height, HEIGHT)
            if x1 < x2 and y1 < y2:
                picture[y1:y2, x1:x2] = face[y1 - top : y2 - top, x1 - left : x2 - left]
        return picture

    return compose
