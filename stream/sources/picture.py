"""A decoded picture, converted only where someone looks at it: most frames never are."""

from __future__ import annotations

import threading

import av
import numpy as np
from av.video.reformatter import VideoReformatter


class PictureConverter:
    """Scales and converts the pictures of one source: one swscale context, so one caller at a time."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._lock = threading.Lock()

    def rgb(self, frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
        """uint8 (height, width, 3) RGB of a frame as it is stored."""
        with self._lock:
            return self._reformatter.reformat(frame, width=width, height=height, format="rgb24", threads=1).to_ndarray()


class DecodedPicture:
    """One decoded frame, upright: a phone's rotation is applied. `width` and `height` are those of the upright picture."""

    __slots__ = ("_converter", "_frame", "_quarter_turns", "height", "width")

    def __init__(self, frame: av.VideoFrame, converter: PictureConverter) -> None:
        self._frame = frame
        self._converter = converter
        self._quarter_turns = round(frame.rotation / 90) % 4
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
