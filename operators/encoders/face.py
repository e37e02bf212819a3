"""The face encoder: a small residual network on 48x48 grey crops that are aligned and histogram-equalised."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

CROP_SIZE = 48
INPUT_SIZE = 44
"""Side of what the network sees, in pixels: 84 % of the cost of whole crops, which on a CPU decides how long it can be
trained."""
FEATURE_DIM = 64
BUCKETS = (1, 2, 3, 4, 6, 8)
"""Numbers of crops that are run: a new shape costs a compilation, which is kept, and the largest one's layers are what the
heap grows by. A crop costs 1.6 ms among 8, 2.1 among 3, 3.2 alone; among 16 it would be 1.5."""
_LINEAR_ROWS = 8
"""Rows that the last layer is given at least: with fewer than 4 the library adds up in another order, and the last bits of a
row would tell how many neighbours it had."""
_GREY_MEAN, _GREY_DEVIATION = 128.0, 74.0
"""Mean and deviation of the grey values of an equalised crop, which are spread evenly over 0..255."""


class _Block(nn.Module):
    """Two 3x3 convolutions around which the input is carried."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = _convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(torch.relu(self.first(x))))


class FaceNetwork(nn.Module):
    """Grey faces float32 (n, 1, 44, 44), normalised, to embeddings float32 (n, 64); 1.22 M parameters.

    Squares of another size it takes too, which training uses. Most of it are dense convolutions at 11x11 and below: on a
    CPU faster than depthwise-separable ones at twice that size.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _convolution(1, 32, kernel=5, stride=2),
            nn.ReLU(),
            _Block(32),
            _convolution(32, 96, stride=2),
            nn.ReLU(),
            _Block(96),
            _Block(96),
            _convolution(96, 192, stride=2),
            nn.ReLU(),
            _Block(192),
        )
        self.embedding = nn.Linear(192, FEATURE_DIM)

    def forward(self, faces: Tensor) -> Tensor:
        """The embeddings."""
        return torch.relu(self.embedding(self.layers(faces).mean(dim=(2, 3))))


class FaceCropEncoder:
    """The packet encoder of faces: crops to embeddings, at the shapes of `BUCKETS` alone.

    It keeps its own form of the network as it was given, which computes the same but for rounding. On a CPU a row is
    byte-equal whatever its neighbours and their number, so that faces may be encoded in whatever groups they come in.
    """

    feature_dim = FEATURE_DIM

    def __init__(self, network: FaceNetwork, device: str = "cpu") -> None:
        self._device = torch.device(device)
        self._network = _FoldedNetwork(copy.deepcopy(network).eval().requires_grad_(False).to(self._device))

    @torch.inference_mode()
    def infer(self, crops: np.ndarray) -> np.ndarray:
        """Embeddings float32 (n, 64) of crops uint8 (n, 48, 48); a row does not depend on its neighbours."""
        features = np.empty((len(crops), FEATURE_DIM), np.float32)
        for first in range(0, len(crops), BUCKETS[-1]):
            part = crops[first : first + BUCKETS[-1]]
            bucket = next(size for size in BUCKETS if size >= len(part))
            padded = np.zeros((bucket, CROP_SIZE, CROP_SIZE), np.uint8)
            padded[: len(part)] = part
            faces = network_input(torch.from_numpy(padded).to(self._device, non_blocking=True))
            features[first : first + len(part)] = self._network(faces).cpu().numpy()[: len(part)]
        return features

    def prepare(self) -> None:
        """Runs each number of crops once: what is compiled for it and kept does not come while somebody waits."""
        for crops in BUCKETS:
            self.infer(np.zeros((crops, CROP_SIZE, CROP_SIZE), np.uint8))


class _FoldedConvolution:
    """A convolution that its batch normalisation has become part of: two passes over memory less."""

    def __init__(self, layer: nn.Sequential) -> None:
        convolution, norm = layer
        assert isinstance(convolution, nn.Conv2d)  # `_convolution` makes nothing else
        assert isinstance(norm, nn.BatchNorm2d)
        assert not isinstance(convolution.padding, str)
        folded = fuse_conv_bn_eval(convolution, norm)
        self._weight = folded.weight.contiguous(memory_format=torch.channels_last)
        self._bias = folded.bias
        self._stride, self._padding = convolution.stride, convolution.padding
        self._on_onednn = self._weight.device.type == "cpu" and torch.backends.mkldnn.is_available()

    def __call__(self, x: Tensor) -> Tensor:
        if self._on_onednn:
            # `conv2d` takes another library for one crop than for two, which rounds in another way.
            return torch.mkldnn_convolution(x, self._weight, self._bias, self._padding, self._stride, (1, 1), 1)
        return torch.conv2d(x, self._weight, self._bias, self._stride, self._padding)


class _FoldedNetwork:
    """What a `FaceNetwork` that will not be trained further computes: plain calls on tensors, for a few crops a call."""

    def __init__(self, network: FaceNetwork) -> None:
        self._layers = [_folded(layer) for layer in network.layers if not isinstance(layer, nn.ReLU)]
        self._embedding = network.embedding

    def __call__(self, faces: Tensor) -> Tensor:
        x = faces
        for first, second in self._layers:
            y = first(x).relu_()
            x = y if second is None else second(y).add_(x).relu_()
        means = x.mean(dim=(2, 3))
        filled = functional.pad(means, (0, 0, 0, max(0, _LINEAR_ROWS - len(means))))
        return functional.linear(filled, self._embedding.weight, self._embedding.bias).relu_()[: len(means)]


def _folded(layer: nn.Module) -> tuple[_FoldedConvolution, _FoldedConvolution | None]:
    """A convolution and nothing, or the two of a block."""
    if isinstance(layer, _Block):
        return _FoldedConvolution(layer.first), _FoldedConvolution(layer.second)
    assert isinstance(layer, nn.Sequential)  # the network has no other layers
    return _FoldedConvolution(layer), None


def normalise(crops: Tensor) -> Tensor:
    """Grey values uint8 (n, h, w) as float32 (n, 1, h, w) with mean 0 and deviation 1 where they were equalised."""
    return (crops.unsqueeze(1).float() - _GREY_MEAN) / _GREY_DEVIATION


def network_input(crops: Tensor) -> Tensor:
    """Crops uint8 (n, 48, 48) as the network sees them: float32 (n, 1, 44, 44), channels last."""
    faces = functional.interpolate(normalise(crops), size=INPUT_SIZE, mode="bilinear", align_corners=False)
    return faces.contiguous(memory_format=torch.channels_last)


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(outputs))
