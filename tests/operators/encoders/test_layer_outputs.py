from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from operators.encoders.layer_outputs import with_outputs
from operators.encoders.speech import BLOCK, LAYERS_DIM, SpeechEncoder, block_count, network_input
from operators.onnx_session import open_session
from operators.packaged_weights import MOONSHINE_TINY, verified_folder
from stream.errors import ModelFolderError


@pytest.fixture(scope="module")
def packaged() -> onnxruntime.InferenceSession:
    """The encoder as it comes, with the outputs it was made with."""
    return open_session(verified_folder(MOONSHINE_TINY) / "encoder_model.ort")


def feed(samples: np.ndarray) -> dict[str, np.ndarray]:
    audio = network_input(samples)
    return {"input_values": audio, "attention_mask": np.ones(audio.shape, np.int64)}


def test_the_last_states_are_those_of_the_packaged_network(
    packaged: onnxruntime.InferenceSession, speech_encoder: SpeechEncoder, beckett: np.ndarray
) -> None:
    (states,) = packaged.run(None, feed(beckett[:30_000]))
    assert np.array_equal(speech_encoder.encode(beckett[:30_000], 0).states, states[0])


def test_the_layers_come_before_the_last_states(beckett: np.ndarray) -> None:
    names = ["/layers.5/Add_output_0", "/layers.5/mlp/fc2/Add_output_0", "last_hidden_state"]
    session = open_session(verified_folder(MOONSHINE_TINY) / "encoder_model.ort", names)
    attended, further, last = session.run(None, feed(beckett[:30_000]))
    summed = attended + further
    normed = (summed - summed.mean(-1, keepdims=True)) / summed.std(-1, keepdims=True)
    # The network's last step is a layer normalisation of this sum: each channel is it times a weight.
    scale = (normed * last).sum((0, 1)) / np.square(normed).sum((0, 1))
    np.testing.assert_allclose(last, normed * scale, atol=1e-2)


@pytest.mark.parametrize("sample_count", [0, 895, 1_279, 16_000, 50_001])
def test_a_block_is_the_mean_of_its_states(speech_encoder: SpeechEncoder, beckett: np.ndarray, sample_count: int) -> None:
    samples = beckett[:sample_count]
    layers = speech_encoder.encode(samples, 0).layers
    assert layers.shape == (block_count(sample_count), LAYERS_DIM)
    assert layers.dtype == np.float32
    second = open_session(verified_folder(MOONSHINE_TINY) / "encoder_model.ort", ["/layers.1/Add_1_output_0"])
    (states,) = second.run(None, feed(samples))
    expected = [states[0][k : k + BLOCK].mean(0) for k in range(0, states.shape[1], BLOCK)]
    np.testing.assert_allclose(layers[:, : states.shape[2]], expected, rtol=1e-4, atol=1e-4)


def test_another_format_is_refused() -> None:
    with pytest.raises(ModelFolderError, match=r"onnxruntime's format"):
        with_outputs(bytes(64), ["a"])
    with pytest.raises(ModelFolderError, match=r"onnxruntime's format"):
        with_outputs(b"", ["a"])


def test_a_value_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ModelFolderError, match="no such value"):
        open_session(verified_folder(MOONSHINE_TINY) / "encoder_model.ort", ["no such value"])
