"""The text part that ships gives the figures of its card, through the encoder that runs live."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from operators.evaluation.metrics import sentiment_metrics, weighted_f1
from operators.model import TextPart
from operators.model_description import PartDescription, read_description
from operators.model_folder import DEFAULT_MODEL, load_model
from operators.training.text import TextData, read_text_data, ways_to_try


@pytest.fixture(scope="module")
def part() -> TextPart:
    model = load_model()
    assert model._text is not None
    return model._text


@pytest.fixture(scope="module")
def card() -> PartDescription:
    description = read_description(DEFAULT_MODEL).text
    assert description is not None
    return description


@pytest.fixture(scope="module")
def data(shared_data: Path) -> TextData:
    return read_text_data(shared_data)


def features(part: TextPart, texts: Sequence[str]) -> Tensor:
    return torch.cat([part.encoder.encode(texts[k : k + 64]) for k in range(0, len(texts), 64)])


@pytest.mark.parametrize(("way", "suffix"), [("sentences", ""), ("captions", "_of_captions"), ("errors", "_of_errors")])
def test_opinions_of_mosi(part: TextPart, card: PartDescription, data: TextData, way: str, suffix: str) -> None:
    assert part.sentiment is not None
    values = part.sentiment.values(features(part, ways_to_try(data)[0][way]))
    found = sentiment_metrics(data.opinions_valid.sentiment, values)
    for name in ("mae", "acc2_non0"):
        assert found[name] == pytest.approx(card.metrics[f"mosi_valid_{name}{suffix}"], abs=0.005)
    if way == "sentences":
        assert found["mae"] <= 0.85
        half_width = part.sentiment.about.half_width
        covered = np.abs(values - data.opinions_valid.sentiment) <= half_width
        assert covered.mean() == pytest.approx(part.sentiment.about.level, abs=0.03)


def test_the_seeds_reach_what_they_should_on_average(card: PartDescription) -> None:
    # The model that ships is their mean; which of them would do best on these rows is chance.
    assert card.metrics["mosi_valid_mae_mean_of_5_seeds"] <= 0.85
    assert card.metrics["mosi_valid_acc2_non0_mean_of_5_seeds"] >= 0.83
    assert card.metrics["meld_dev_weighted_f1_mean_of_5_seeds"] >= 0.55


def test_emotions_of_meld(part: TextPart, card: PartDescription, data: TextData) -> None:
    probabilities = part.emotion.probabilities(features(part, data.utterances_valid.texts))
    found = weighted_f1(data.utterances_valid.emotions, probabilities.argmax(1))
    assert found == pytest.approx(card.metrics["meld_dev_weighted_f1"], abs=0.005)
    assert found >= 0.55
    assert card.metrics["meld_dev_calibration_error"] <= 0.05
