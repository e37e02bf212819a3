"""Who of several visible people speaks, computed without the project's code: mouths between picks, and how sound fits them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from safetensors.numpy import load_file

from deploy.bench.bare_faces import EYE_DISTANCE, PLACES
from deploy.bench.bare_operators import BANDS, RATE, package_folder

SIDE, SCALE, MARGIN, MOST_HELD = 32, 1.2, 0.4, 32
MIDDLE = np.array([24, 37], np.float32)
STEP_NS, GAP_NS, LEAST_STEPS, PICK_NS = 40_000_000, 130_000_000, 25, 200_000_000
NEAR, FAR = range(-3, 4), [*range(-12, -5), *range(6, 13)]


class Mouth(NamedTuple):
    """A mouth at an instant, uint8 (32, 32)."""

    at_ns: int
    crop: np.ndarray


class MouthCutter:
    """Mouths at frame rate wherever two faces at least are visible; people are told apart by place."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._seen = np.zeros((0, 5, 2), np.float32)
        self._boxes = np.zeros((0, 4), np.float32)
        self._tracks: list[int] = []
        self._at_ns = 0
        self._held: list[tuple[int, list[tuple[np.ndarray, np.ndarray]]]] = []
        self.mouths: dict[int, list[Mouth]] = {}

    def see(self, frame: av.VideoFrame, at_ns: int) -> None:
        """A frame between picks: what surrounds the faces is kept."""
        if len(self._boxes) > 1:
            grey = self._grey(frame)
            self._held = [*self._held[1 - MOST_HELD :], (at_ns, [_region(grey, box) for box in self._boxes])]

    def pick(self, frame: av.VideoFrame, at_ns: int, boxes: np.ndarray, landmarks: np.ndarray) -> None:
        """Cuts the mouths since the pick before, landmarks float32 (n, 5, 2) on the line between the two picks."""
        before = [self._nearest(points) for points in landmarks]
        known = len(self.mouths)
        tracks = [known + k if place is None else self._tracks[place] for k, place in enumerate(before)]
        if len(boxes) > 1:
            grey, size = self._grey(frame), np.array([frame.width, frame.height], np.float32)
            for track, place, box, points in zip(tracks, before, boxes, landmarks, strict=True):
                found = self.mouths.setdefault(track, [])
                if place is not None:
                    for held_ns, regions in self._held:
                        share = np.float32((held_ns - self._at_ns) / (at_ns - self._at_ns))
                        between = self._seen[place] * (1 - share) + points * share
                        found.append(Mouth(held_ns, _cut(*regions[place], between * size)))
                found.append(Mouth(at_ns, _cut(*_region(grey, box), points * size)))
        self._seen, self._tracks, self._at_ns, self._held = landmarks, tracks, at_ns, []
        self._boxes = boxes if len(boxes) > 1 else boxes[:0]

    def _nearest(self, points: np.ndarray) -> int | None:
        distances = np.linalg.norm((self._seen - points).mean(1), axis=1)
        return int(distances.argmin()) if len(distances) and distances.min() < 0.15 else None

    def _grey(self, frame: av.VideoFrame) -> np.ndarray:
        if not frame.format.name.startswith("yuv4"):
            return self._reformatter.reformat(frame, format="gray", threads=1).to_ndarray()
        plane = frame.planes[0]
        return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]


def _region(grey: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What surrounds a box in shares of the picture, and where it begins."""
    height, width = grey.shape
    x1, y1, x2, y2 = map(float, box)
    side, rise = (x2 - x1) * MARGIN, (y2 - y1) * MARGIN
    left, right = max(0, int((x1 - side) * width)), min(width, int((x2 + side) * width) + 1)
    top, bottom = max(0, int((y1 - rise) * height)), min(height, int((y2 + rise) * height) + 1)
    return grey[top:bottom, left:right].copy(), np.array([left, top], np.float32)


def _cut(pixels: np.ndarray, origin: np.ndarray, points: np.ndarray) -> np.ndarray:
    points = points - origin
    factor = int(np.clip(np.ceil(np.linalg.norm(points[1] - points[0]) / (EYE_DISTANCE * SCALE)), 1, 8))
    side = SIDE * factor
    source, target = points @ (1, 1j), ((PLACES - MIDDLE) * SCALE * factor + side / 2) @ (1, 1j)
    centred = source - source.mean()
    a = np.vdot(centred, target) / max(np.vdot(centred, centred).real, 1e-9)
    b = target.mean() - a * source.mean()
    matrix = np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
    matrix[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
    warped = cv2.warpAffine(pixels, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(warped, (SIDE, SIDE), interpolation=cv2.INTER_AREA) if factor > 1 else warped


class SpeakerFit:
    """How well each mouth's motion fits the sound."""

    def __init__(self) -> None:
        weights = load_file(package_folder("operators") / "weights" / "speaker" / "speaker.safetensors")
        self._mouth, self._sound = weights["mouth"], weights["sound"]
        self._gain, self._level = map(float, weights["certainty"])
        lowest, highest = (2595 * np.log10(1 + hertz / 700) for hertz in (80, 7600))
        bands = np.linspace(float(lowest), float(highest), BANDS + 2)
        edges, hertz = 700 * (10 ** (bands / 2595) - 1), np.fft.rfftfreq(512, 1 / RATE)[:, None]
        low, middle, high = edges[:-2], edges[1:-1], edges[2:]
        self._bands = np.clip(np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle)), 0, None)
        bell = np.exp(-0.5 * (np.arange(-8, 9) / 2) ** 2)
        self._bell = bell / bell.sum()

    def __call__(self, mouths: Sequence[Sequence[Mouth]], samples: np.ndarray, start_ns: int) -> list[float]:
        """The probability of each mouth that it is heard, of those seen for long enough."""
        end_ns = start_ns + len(samples) * 10**9 // RATE
        grid = np.arange(-(-start_ns // STEP_NS) * STEP_NS, end_ns, STEP_NS)
        sound: np.ndarray | None = None
        odds = []
        for whole in mouths:
            first, last = (bisect_left(whole, at_ns, key=lambda each: each.at_ns) for at_ns in (start_ns - PICK_NS, end_ns))
            mouth = whole[first:last]
            times = np.array([each.at_ns for each in mouth])
            after = np.clip(np.searchsorted(times, grid), 1, len(times) - 1) if len(times) > 1 else np.zeros(0, int)
            if not len(after):
                continue
            inside = (grid >= times[0]) & (grid <= times[-1])
            seen = inside & ((times[after] - times[after - 1] <= GAP_NS) | (times[after] == grid))
            if seen.sum() < LEAST_STEPS:
                continue
            sound = self._of_sound(samples, grid - start_ns) @ self._sound if sound is None else sound
            moves = self._of_mouth(times, np.stack([each.crop for each in mouth]), grid) @ self._mouth
            floor = np.mean([_correlation(moves, sound, seen, lag) for lag in FAR])
            fits = np.array([_correlation(moves, sound, seen, lag) for lag in NEAR]) - floor
            prior = -0.5 * (np.array(NEAR) / 1.5) ** 2
            prior -= np.logaddexp.reduce(prior)
            odds.append(np.logaddexp.reduce(prior + self._gain * seen.sum() * (fits - self._level)))
        total = np.logaddexp.reduce([0.0, *odds])
        return [float(np.exp(each - total)) for each in odds]

    def _of_mouth(self, times: np.ndarray, crops: np.ndarray, grid: np.ndarray) -> np.ndarray:
        pixels = crops.astype(np.float64)
        pixels -= pixels.mean(axis=(1, 2), keepdims=True)
        pixels /= pixels.mean(axis=0).std() + 2.0
        row, column = np.meshgrid(np.arange(8), np.arange(8), indexing="ij")
        coarse = (row + column <= 8) & (row + column > 0)
        patterns = (_cosines(SIDE, 8) @ pixels @ _cosines(SIDE, 16)[::2].T)[:, coarse]
        course = np.stack([np.interp(grid, times, pattern) for pattern in patterns.T], axis=1)
        steps = np.arange(len(grid))
        return np.concatenate([course[np.clip(steps + k, 0, len(grid) - 1)] for k in (-2, 0, 2)], axis=1)

    def _of_sound(self, samples: np.ndarray, at_ns: np.ndarray) -> np.ndarray:
        padded = np.zeros(len(samples) + 912)
        padded[200 : 200 + len(samples)] = samples / 32768
        count = max(1, len(samples) // 160)
        frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[: count * 160 : 160] * np.hanning(400)
        energies = (np.abs(np.fft.rfft(frames, 512)) ** 2) @ self._bands
        cepstra = np.log(energies / (energies.mean() + 1e-10) + 1e-4) @ _cosines(BANDS, 10).T
        edged = np.pad(cepstra, ((8, 8), (0, 0)), mode="symmetric")
        course = np.stack([np.convolve(column, self._bell, "valid") for column in edged.T], axis=1)
        places, frame = at_ns / 1e7, np.arange(len(course))
        offsets = (-12, -6, 0, 6, 12)
        return np.concatenate(
            [np.stack([np.interp(places + k, frame, column) for column in course.T], axis=1) for k in offsets], axis=1
        )


def _cosines(length: int, count: int) -> np.ndarray:
    waves = np.cos(np.pi * (np.arange(length) + 0.5) / length * np.arange(count)[:, None]) * np.sqrt(2 / length)
    waves[0] /= np.sqrt(2)
    return waves


def _correlation(mouth: np.ndarray, sound: np.ndarray, seen: np.ndarray, lag: int) -> float:
    later, earlier = slice(max(0, lag), len(mouth) + min(0, lag)), slice(max(0, -lag), len(mouth) - max(0, lag))
    kept = seen[later]
    if kept.sum() < 2:
        return 0.0
    x, y = mouth[later][kept], sound[earlier][kept]
    x, y = x - x.mean(0), y - y.mean(0)
    return float(np.mean((x * y).sum(0) / np.sqrt((x * x).sum(0) * (y * y).sum(0) + 1e-12)))
