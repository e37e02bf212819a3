"""A decoded picture, converted only where someone looks at it: most frames never are."""

from __future__ import annotations

import re
import threading
from typing import Final

import av
import numpy as np
from av.video.reformatter import VideoReformatter

_BRIGHTNESS_FIRST: Final = re.compile(r"yuvj?4\d\dp|nv12|nv21|gray")
"""Formats whose first plane is 8-bit brightness."""


class PictureConverter:
    """Scales and converts the pictures of one source: one swscale context, so one caller at a time."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._lock = threading.Lock()

    def rgb(self, frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
        """uint8 (height, width, 3) RGB of a frame as it is stored."""
        with self._lock:
            return self._reformatter.reformat(frame, width=width, height=height, format="rgb24", threads=1).to_ndarray()

    def grey(self, frame: av.VideoFrame) -> np.ndarray:
        """uint8 (height, width) brightness of a frame as it is stored; a view of it where it is stored as such."""
        if not _BRIGHTNESS_FIRST.fullmatch(frame.format.name):
            with self._lock:
                return self._reformatter.reformat(frame, format="gray", threads=1).to_ndarray()
        plane = frame.planes[0]
        rows: np.ndarray = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        return rows[: frame.height, : frame.width]


class DecodedPicture:
    """One decoded frame, upright: a phone's rotation is applied. `width` and `height` are those of the upright picture."""

    __slots__ = ("_converter", "_frame", "_quarter_turns", "height", "width")

    def __init__(self, frame: av.VideoFrame, converter: PictureConverter, turned: int = 0) -> None:
        self._frame = frame
        self._converter = converter
        self._quarter_turns = (round(frame.rotation / 90) + turned) % 4
        self.width, self.height = frame.width, frame.height
        if self._quarter_turns % 2:
            self.width, self.height = self.height, self.width

    def rgb(self, width: int, height: int) -> np.ndarray:
        """The picture scaled to (height, width, 3), uint8 RGB, contiguous."""
        turns = self._quarter_turns
        if turns % 2:
            width, height = height, width
        picture = self._converter.rgb(self._frame, width, height)
        return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture

    def grey(self) -> np.ndarray:
        """The brightness of the whole picture, uint8 (height, width): a view of it where that can be."""
        return np.rot90(self._converter.grey(self._frame), self._quarter_turns)
