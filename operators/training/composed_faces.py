"""People filmed beside each other: clips of GRID composed into videos, and their mouths as the live path follows them there."""

from __future__ import annotations

import itertools
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import av
import cv2
import msgspec
import numpy as np

from operators.faces.detection import CenterFaceDetector
from operators.faces.operator import FaceOperator
from stream.errors import DatasetError
from stream.sources.media import MediaSource
from stream.timeline.packets import AudioChunk, Faces, Mouths, VideoFrame

SIZES: Final = ((1.0, 1.0), (1.0, 0.6), (0.6, 1.0))
NEIGHBOURS: Final = (1, 4)
"""Each clip is filmed beside the next and beside the fourth after it."""
RATE: Final = 25
SIDES: Final = ("left", "right")


class View(NamedTuple):
    """Where a clip is in a composed video: on which side, at which sizes left and right, and beside which other clip."""

    side: str
    sizes: tuple[float, float]
    step: int


class Clip(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A talking face: its sound int16 (n,) at 16 kHz, and its mouth as followed in several composed videos."""

    name: str
    samples: np.ndarray
    mouths: dict[View, Mouths]


def read_clips(folder: Path, sizes: Sequence[tuple[float, float]] = SIZES, steps: Sequence[int] = NEIGHBOURS) -> list[Clip]:
    """The clips `*.mpg` of a folder, each followed beside others: in both places, at both sizes, after a lossy encoder.

    Raises `DatasetError` where there are fewer than six.
    """
    paths = sorted(folder.glob("*.mpg"))
    if len(paths) < 6:
        raise DatasetError(f"GRID in {folder}", found=f"{len(paths)} files *.mpg", expected="6 at least")
    pictures = [pictures_of(path) for path in paths]
    mouths: list[dict[View, Mouths]] = [{} for _ in paths]
    detector = CenterFaceDetector()
    for step, chosen in itertools.product(steps, sizes):
        for i in range(len(paths)):
            j = (i + step) % len(paths)
            found = follow(pictures[i], pictures[j], chosen, detector)
            for index, side, seen in zip((i, j), SIDES, found, strict=True):
                mouths[index][View(side, chosen, step)] = seen
    return [Clip(name=path.stem, samples=sound_of(path), mouths=seen) for path, seen in zip(paths, mouths, strict=True)]


def compose(left: Sequence[np.ndarray], right: Sequence[np.ndarray], sizes: tuple[float, float]) -> Iterator[np.ndarray]:
    """Two films of uint8 (h, w, 3) pictures beside each other, each smaller by its size."""
    for pair in zip(left, right, strict=False):
        height, width = max(p.shape[0] for p in pair), max(p.shape[1] for p in pair)
        canvas = np.full((height, 2 * width, 3), 60, np.uint8)
        for place, (picture, size) in enumerate(zip(pair, sizes, strict=True)):
            scaled = cv2.resize(picture, None, fx=size, fy=size, interpolation=cv2.INTER_AREA) if size < 1 else picture
            top, start = (height - scaled.shape[0]) // 2, place * width + (width - scaled.shape[1]) // 2
            canvas[top : top + scaled.shape[0], start : start + scaled.shape[1]] = scaled
        yield canvas


def write_film(path: Path, pictures: Iterator[np.ndarray], samples: np.ndarray | None = None) -> None:
    """A film of uint8 (h, w, 3) pictures at 25 a second, H.264, with int16 (n,) samples at 16 kHz where given.

    The same pictures give the same film but for its container's identifier: without macroblock trees, by which x264 gives one
    film in three to ten other bits (with any number of threads; not without its assembler), and so another mouth in some.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"crf": "23", "preset": "veryfast", "mbtree": "0"})
        audio = container.add_stream("flac", rate=16_000, layout="mono") if samples is not None else None
        video.pix_fmt = "yuv420p"
        for number, picture in enumerate(pictures):
            if not number:
                video.height, video.width = picture.shape[:2]
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        if audio is not None and samples is not None:
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.rate, frame.pts = 16_000, 0
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))


def follow(
    left: Sequence[np.ndarray], right: Sequence[np.ndarray], sizes: tuple[float, float], detector: CenterFaceDetector
) -> tuple[Mouths, Mouths]:
    """The mouths of two people as the live path follows them in a composed video. Raises `DatasetError` where it loses one."""
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mkv"
        write_film(film, compose(left, right, sizes))
        operator = FaceOperator(detector, lambda crops: np.zeros((len(crops), 0), np.float32))
        found: dict[int, list[Mouths]] = defaultdict(list)
        places: dict[int, float] = {}
        for packet in _packets(film):
            if isinstance(packet, VideoFrame):
                for faces in (item for item in operator.process(packet) if isinstance(item, Faces)):
                    for face in faces.faces:
                        places[face.track] = face.box[0]
                        if face.mouths is not None:
                            found[face.track].append(face.mouths)
    if len(found) != 2:
        raise DatasetError("a composed pair of GRID", found=f"{len(found)} people followed", expected="2")
    first, second = sorted(found, key=places.__getitem__)
    return _joined(found[first]), _joined(found[second])


def _joined(mouths: Sequence[Mouths]) -> Mouths:
    return Mouths(times_ns=np.concatenate([m.times_ns for m in mouths]), crops=np.concatenate([m.crops for m in mouths]))


def _packets(path: Path) -> Iterator[object]:
    source = MediaSource(str(path))
    try:
        while not source.ended:
            yield from source.read()
    finally:
        source.close()


def pictures_of(path: Path) -> list[np.ndarray]:
    """The pictures of a media file, uint8 (h, w, 3) RGB."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def sound_of(path: Path) -> np.ndarray:
    """The sound of a media file, int16 (n,) at 16 kHz from its start on."""
    return np.concatenate([packet.samples for packet in _packets(path) if isinstance(packet, AudioChunk)])
