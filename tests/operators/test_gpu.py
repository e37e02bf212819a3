"""The operators that torch computes, on a GPU: `pytest -m gpu`. They say what they say on a CPU, but for rounding."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import torch

from operators.encoders.face import FaceCropEncoder, FaceNetwork
from operators.encoders.text import TextEncoder
from operators.evaluation.as_segments import NOTHING_HEARD, face_segment, text_segment
from operators.interface import SegmentInput, SpeechResult, SpeechStates
from operators.model import AffectModel
from operators.model_folder import load_model
from stream.timeline.time import NS_PER_SAMPLE

pytestmark = pytest.mark.gpu

TEXTS = ["I love this, it is wonderful!", "The train leaves at six.", "no", "This is awful and I hate it. " * 4]
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def gpu() -> str:
    if not torch.cuda.is_available():
        pytest.skip("no GPU: torch.cuda.is_available() is False")
    # Products of matrices with 10 bits of mantissa would be a hundred times further from the CPU's.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return "cuda"


@pytest.fixture(scope="module")
def models(gpu: str) -> tuple[AffectModel, AffectModel]:
    """The model that ships, on the CPU and on the GPU."""
    return load_model(), load_model(device=gpu)


def crops(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 48, 48), dtype=np.uint8)


def segments(model: AffectModel) -> list[tuple[SegmentInput, SpeechResult]]:
    """Faces, texts and voices, each alone."""
    batch = [(text_segment(text), NOTHING_HEARD) for text in TEXTS]
    batch += [
        (face_segment(crop, feature), NOTHING_HEARD)
        for crop, feature in zip(crops(3), model.face_encoder.infer(crops(3)), strict=True)
    ]
    return batch


@pytest.mark.parametrize("count", [1, 3, 8, 11])
def test_faces(gpu: str, count: int) -> None:
    torch.manual_seed(0)
    network = FaceNetwork()
    here, there = FaceCropEncoder(network), FaceCropEncoder(network, gpu)
    np.testing.assert_allclose(there.infer(crops(count)), here.infer(crops(count)), atol=TOLERANCE, rtol=TOLERANCE)


def test_texts(gpu: str) -> None:
    found = TextEncoder(gpu).encode(TEXTS)
    assert found.device.type == "cuda"
    torch.testing.assert_close(found.cpu(), TextEncoder().encode(TEXTS), atol=TOLERANCE, rtol=0)


def test_the_model_says_what_it_says_on_a_cpu(models: tuple[AffectModel, AffectModel]) -> None:
    here, there = models
    for expected, found in zip(here.infer(segments(here)), there.infer(segments(there)), strict=True):
        assert expected.emotions is not None
        assert found.emotions is not None
        np.testing.assert_allclose(found.emotions, expected.emotions, atol=TOLERANCE)
        assert found.emotions.argmax() == expected.emotions.argmax()
        assert found.weights == expected.weights
        assert expected.sentiment is not None
        assert found.sentiment is not None
        assert found.sentiment.value == pytest.approx(expected.sentiment.value, abs=10 * TOLERANCE)


def test_a_voice(models: tuple[AffectModel, AffectModel]) -> None:
    random = np.random.default_rng(1)
    samples = (3_000 * random.standard_normal(32_000)).astype(np.int16)
    states = SpeechStates(
        start_ns=0,
        step_ns=24_000_000,
        states=random.standard_normal((80, 288)).astype(np.float32),
        layers=random.standard_normal((20, 1152)).astype(np.float32),
    )
    heard = SpeechResult(states=states, transcript=None)
    silent = text_segment("")
    segment = msgspec.structs.replace(
        silent,
        end_ns=len(samples) * NS_PER_SAMPLE,
        samples=samples,
        sample_mask=np.ones(len(samples), np.bool_),
        speech_ns=(0, len(samples) * NS_PER_SAMPLE),
    )
    (expected,), (found,) = (model.infer([(segment, heard)]) for model in models)
    assert expected.emotions is not None
    assert found.emotions is not None
    np.testing.assert_allclose(found.emotions, expected.emotions, atol=TOLERANCE)
