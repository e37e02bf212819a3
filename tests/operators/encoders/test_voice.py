from __future__ import annotations

import pytest
import torch
from torch import nn

from operators.encoders.prosody import PROSODY_DIM
from operators.encoders.speech import LAYERS_DIM
from operators.encoders.voice import HEADS, PROSODY_WIDTH, REDUCED, WIDTH, VoicePooling, voice_dim


@pytest.fixture
def pooling() -> VoicePooling:
    torch.manual_seed(0)
    pooling = VoicePooling(2).eval()
    pooling.fit_shared(torch.randn(400, LAYERS_DIM) * 3 + 1, torch.randn(50, PROSODY_DIM))
    nn.init.normal_(pooling.attention)
    return pooling


@torch.inference_mode()
def test_the_feature_is_statistics_weighted_by_attention(pooling: VoicePooling) -> None:
    layers, spoken = torch.randn(7, LAYERS_DIM) * 3 + 1, torch.randn(PROSODY_DIM)
    feature = pooling(layers, spoken)
    assert feature.shape == (voice_dim(2),)
    states = nn.functional.gelu(pooling.projection(pooling.reduce(layers)))[:, WIDTH:]  # of the second member
    quarter = WIDTH // HEADS
    weights = torch.softmax(states @ pooling.attention[1, 3], 0)
    values = states[:, 3 * quarter :]
    mean = (weights[:, None] * values).sum(0)
    deviation = (weights[:, None] * (values - mean).square()).sum(0).clamp(min=1e-5).sqrt()
    second = feature[voice_dim(1) :]
    torch.testing.assert_close(second[3 * quarter : WIDTH], mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(second[WIDTH + 3 * quarter : 2 * WIDTH], deviation, atol=1e-4, rtol=1e-3)
    told = nn.functional.gelu(pooling.spoken(pooling.standardise(spoken)))[PROSODY_WIDTH:]
    torch.testing.assert_close(second[2 * WIDTH :], told)


@torch.inference_mode()
def test_padding_changes_nothing(pooling: VoicePooling) -> None:
    layers, spoken = torch.randn(5, LAYERS_DIM), torch.randn(PROSODY_DIM)
    padded = torch.randn(1, 9, REDUCED)
    padded[0, :5] = pooling.reduce(layers)
    found = pooling.pool(padded, pooling.standardise(spoken)[None], torch.arange(9)[None] < 5)
    torch.testing.assert_close(found[0], pooling(layers, spoken), atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_without_attention_trained_every_moment_counts_alike(pooling: VoicePooling) -> None:
    nn.init.zeros_(pooling.attention)
    layers, spoken = torch.randn(6, LAYERS_DIM), torch.randn(PROSODY_DIM)
    states = nn.functional.gelu(pooling.projection(pooling.reduce(layers)))
    torch.testing.assert_close(pooling(layers, spoken)[:WIDTH], states.mean(0)[:WIDTH], atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_one_moment_alone_is_finite(pooling: VoicePooling) -> None:
    assert pooling(torch.zeros(1, LAYERS_DIM), torch.zeros(PROSODY_DIM)).isfinite().all()


@torch.inference_mode()
def test_components_are_uncorrelated_and_of_like_size(pooling: VoicePooling) -> None:
    torch.manual_seed(1)
    mixing = torch.randn(150, LAYERS_DIM)
    layers = torch.randn(3_000, 150) @ mixing + 5
    pooling.fit_shared(layers, torch.randn(20, PROSODY_DIM))
    reduced = pooling.reduce(layers)
    torch.testing.assert_close(reduced.mean(0), torch.zeros(REDUCED), atol=1e-2, rtol=0)
    torch.testing.assert_close(reduced.T @ reduced / len(reduced), torch.eye(REDUCED), atol=0.05, rtol=0)
