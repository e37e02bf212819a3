"""Trains the heads on text: sentiment on CMU-MOSI, emotions on MELD, both on the frozen text encoder."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from operators.calibration import calibration_error, fit_temperature, interval_half_width, reliability
from operators.circumplex import place_of
from operators.datasets.meld import Utterances, read_meld
from operators.datasets.mosi import Opinions, read_mosi
from operators.encoders.text import LONGEST_TOKENS, TextEncoder
from operators.evaluation.metrics import sentiment_metrics, unweighted_average_recall, weighted_f1
from operators.interface import EMOTIONS
from operators.model import EmotionReader
from operators.model_description import (
    EmotionHeadDescription,
    PartDescription,
    SentimentHeadDescription,
    ValenceMap,
    WeightsDescription,
)
from operators.model_folder import ENCODERS, PartModules
from operators.packaged_weights import MINILM
from operators.training.assembly import begin_folder, put_part
from operators.training.feature_cache import cached_features
from operators.training.head_fitting import fit_head
from operators.training.progress import Track, silently

LEVEL = 0.9
"""Share of the truth that the interval around a sentiment is to cover."""
STEEPEST = 3.0
"""Sentiment reaches from -3 to 3, valence from -1 to 1."""
HIDDEN = 128
EPOCHS = 10
_CHUNK = 64


def train_text(
    data: Path,
    output: Path,
    *,
    epochs: int = EPOCHS,
    device: str = "cpu",
    seed: int = 0,
    alone: bool = False,
    track: Track = silently,
) -> dict[str, float]:
    """Puts a text part into the model folder `output`; the figures on MOSI's valid and MELD's dev rows.

    `data` holds the folders `mosi` and `meld`. Raises `DatasetError` where something of them is missing.
    """
    opinions, opinions_valid = read_mosi(data / "mosi", "train"), read_mosi(data / "mosi", "valid")
    utterances, utterances_valid = read_meld(data / "meld", "train"), read_meld(data / "meld", "dev")
    begin_folder(output, alone=alone)
    labels = EMOTIONS
    part = PartDescription(
        encoder=ENCODERS["text"][0],
        weights="text.safetensors",
        emotion=EmotionHeadDescription(labels=labels, hidden=HIDDEN, temperature=1.0, reliability=0.0),
        sentiment=SentimentHeadDescription(half_width=1.0, level=LEVEL),
        command=f"affectstream train text --epochs {epochs} --seed {seed}",
    )
    torch.manual_seed(seed)
    modules = PartModules("text", part)
    embed = _Embedder(device, track)

    # A transcriber writes sentences, captions often bare words: MOSI is seen both ways, MELD with less punctuation too.
    spoken = torch.stack([embed(opinions.texts), embed([as_sentence(text) for text in opinions.texts])])
    spoken_valid = embed([as_sentence(text) for text in opinions_valid.texts])
    sentiment_head = modules.sentiment
    assert sentiment_head is not None  # described above
    sentiment_head.dropout.p = 0.3
    sentiment = torch.from_numpy(opinions.sentiment)[:, None]
    fit = partial(fit_head, weight_decay=0.3, device=device, seed=seed, track=track)
    fit(sentiment_head, spoken, sentiment, functional.l1_loss, epochs=2 * epochs, title="Sentiment")

    said = torch.stack([embed(utterances.texts), embed([with_less_punctuation(text) for text in utterances.texts])])
    said_valid = embed(utterances_valid.texts)
    modules.emotion.dropout.p = 0.4
    emotions = functional.one_hot(torch.from_numpy(utterances.emotions), len(labels)).float()
    fit(modules.emotion, said, emotions, functional.cross_entropy, epochs=epochs, title="Emotions")

    with torch.inference_mode():
        values = sentiment_head(spoken_valid)[:, 0].numpy()
        logits = modules.emotion(said_valid)
    half_width = interval_half_width(opinions_valid.sentiment - values, LEVEL)
    truth = torch.from_numpy(utterances_valid.emotions)
    temperature = fit_temperature(logits, truth)
    probabilities = (logits / temperature).softmax(1)
    emotion = EmotionHeadDescription(
        labels=labels, hidden=HIDDEN, temperature=temperature, reliability=reliability(probabilities, truth)
    )
    reader = EmotionReader(head=modules.emotion, about=emotion)
    mapping = fit_valence_map(reader, spoken[1], opinions, spoken_valid, opinions_valid)
    metrics = {
        **{f"mosi_valid_{name}": value for name, value in sentiment_metrics(opinions_valid.sentiment, values).items()},
        **_emotion_metrics(probabilities, utterances_valid),
    }
    put_part(
        output,
        "text",
        _finished(part, emotion, SentimentHeadDescription(half_width=half_width, level=LEVEL), metrics),
        modules,
        licence=WeightsDescription(
            sha256="0" * 64,
            licence="CMU-MOSI: research use; MELD: GPL-3.0",
            use="research",
            data="CMU-MOSI train (1284 transcripts), MELD train (9989 utterances)",
        ),
        base=MINILM,
        sentiment_from_valence=mapping,
    )
    return metrics


def fit_valence_map(
    reader: EmotionReader, train: Tensor, opinions: Opinions, valid: Tensor, opinions_valid: Opinions
) -> ValenceMap:
    """How the valence of emotions goes over into sentiment, on texts whose sentiment is known: least squares through zero.

    The slope is limited, since a text's emotions are fainter than those of the faces that the map is for.
    """

    def valence(features: Tensor) -> np.ndarray:
        with torch.inference_mode():
            return np.array([place_of(row).valence for row in reader.probabilities(features)])

    known = valence(train)
    slope = min(STEEPEST, float(known @ opinions.sentiment / (known @ known)))
    residuals = opinions_valid.sentiment - slope * valence(valid)
    return ValenceMap(slope=slope, half_width=interval_half_width(residuals, LEVEL), level=LEVEL)


def as_sentence(text: str) -> str:
    """A text with a capital and a full stop."""
    return text[:1].upper() + text[1:] + "."


def with_less_punctuation(text: str) -> str:
    """A text without punctuation inside, and without signs of feeling at its end; apostrophes and question marks stay."""
    return re.sub(r"[^\w\s'?]", "", text).strip()


class _Embedder:
    """Texts to embeddings, from the cache where they were made before."""

    def __init__(self, device: str, track: Track) -> None:
        self._device = device
        self._track = track
        self._encoder: TextEncoder | None = None

    def __call__(self, texts: list[str]) -> Tensor:
        made_of = (*MINILM.digests.values(), str(LONGEST_TOKENS), *texts)
        return torch.from_numpy(cached_features("text", made_of, lambda: self._compute(texts)))

    def _compute(self, texts: list[str]) -> np.ndarray:
        self._encoder = self._encoder or TextEncoder(self._device)
        chunks = [texts[k : k + _CHUNK] for k in range(0, len(texts), _CHUNK)]
        rows = [self._encoder.encode(chunk).cpu().numpy() for chunk in self._track(chunks, "Texts")]
        return np.concatenate(rows)


def _emotion_metrics(probabilities: Tensor, utterances: Utterances) -> dict[str, float]:
    predicted = probabilities.argmax(1).numpy()
    return {
        "meld_dev_weighted_f1": weighted_f1(utterances.emotions, predicted),
        "meld_dev_unweighted_recall": unweighted_average_recall(utterances.emotions, predicted),
        "meld_dev_calibration_error": calibration_error(probabilities, torch.from_numpy(utterances.emotions)),
    }


def _finished(
    part: PartDescription, emotion: EmotionHeadDescription, sentiment: SentimentHeadDescription, metrics: dict[str, float]
) -> PartDescription:
    return PartDescription(
        encoder=part.encoder,
        weights=part.weights,
        emotion=emotion,
        sentiment=sentiment,
        metrics={name: round(value, 4) for name, value in metrics.items()},
        command=part.command,
    )
