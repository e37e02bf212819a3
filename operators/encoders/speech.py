"""Speech encoder: the encoder of the packaged Moonshine tiny-en weights, on onnxruntime."""

from __future__ import annotations

from typing import Final

import numpy as np

from operators.interface import SpeechStates
from operators.onnx_session import open_session
from operators.packaged_weights import MOONSHINE_TINY, verified_folder
from stream.timeline.time import NS_PER_SAMPLE

SHORTEST_SAMPLES: Final = 895
"""Below it the convolutions have nothing to give; shorter audio is padded with zeros."""
STATE_DIM: Final = 288
STATE_STEP_SAMPLES: Final = 384
"""Samples between two states: the strides of the three convolutions, 64 x 3 x 2."""
LAYERS: Final = (2, 3, 4, 5)
"""Of the six layers, those whose states tell emotions: a logistic regression on means and deviations told .54 of RAVDESS's
eight without a layer, .67 .70 .68 .69 .66 .63 after each (unseen actors), and .72 by these four with prosody."""
LAYERS_DIM: Final = len(LAYERS) * STATE_DIM
BLOCK: Final = 4
"""States that are averaged for the inner layers: one in 96 ms, half a syllable, is a quarter of what there is to carry."""
_OUTPUTS: Final = ("last_hidden_state", *(f"/layers.{layer - 1}/Add_1_output_0" for layer in LAYERS))
"""The layers' own names in the packaged graph."""


def state_count(sample_count: int) -> int:
    """How many states the encoder gives for so many samples."""
    return (((max(sample_count, SHORTEST_SAMPLES) - 127) // 64 + 1 - 7) // 3 + 1 - 3) // 2 + 1


def block_count(sample_count: int) -> int:
    """How many blocks of inner states the encoder gives for so many samples."""
    return -(-state_count(sample_count) // BLOCK)


def network_input(samples: np.ndarray) -> np.ndarray:
    """int16 (n,) to float32 (1, max(n, 895)) in [-1, 1), as the network takes it."""
    padded = np.zeros((1, max(len(samples), SHORTEST_SAMPLES)), np.float32)
    np.multiply(samples, np.float32(1 / 32768), out=padded[0, : len(samples)])
    return padded


class SpeechEncoder:
    """Samples to states; stateless, and may be called from several threads at once."""

    name = "moonshine-tiny-en"
    feature_dim = STATE_DIM

    def __init__(self) -> None:
        self._session = open_session(verified_folder(MOONSHINE_TINY) / "encoder_model.ort", _OUTPUTS)

    def encode(self, samples: np.ndarray, start_ns: int) -> SpeechStates:
        """States of int16 (n,) samples at 16 kHz: float32 (`state_count(n)`, 288), one every 24 ms from `start_ns`.

        With them those of the layers `LAYERS`, side by side: float32 (`block_count(n)`, 1152), means of four in turn.
        """
        audio = network_input(samples)
        states, *layers = self._session.run(None, {"input_values": audio, "attention_mask": np.ones(audio.shape, np.int64)})
        return SpeechStates(
            start_ns=start_ns,
            step_ns=STATE_STEP_SAMPLES * NS_PER_SAMPLE,
            states=states[0],
            layers=np.concatenate([_block_means(layer[0]) for layer in layers], 1),
        )


def _block_means(states: np.ndarray) -> np.ndarray:
    """Means float32 (ceil(t / 4), d) of four states (t, d) in turn; the last may be of fewer."""
    starts = np.arange(0, len(states), BLOCK)
    counts = np.minimum(BLOCK, len(states) - starts).astype(np.float32)
    sums: np.ndarray = np.add.reduceat(states, starts, axis=0)
    return sums / counts[:, None]
