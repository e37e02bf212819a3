"""Trains the text part: adapters of the text encoder and heads, sentiment on CMU-MOSI and emotions on MELD."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import torch
from torch import Tensor

from operators.calibration import fit_temperature, interval_half_width, reliability
from operators.circumplex import place_of
from operators.datasets.meld import Utterances, read_meld
from operators.datasets.mosi import Opinions, read_mosi
from operators.encoders import adapters, minilm
from operators.encoders.minilm import PackedMiniLM
from operators.encoders.text import TextEncoder
from operators.evaluation.metrics import sentiment_metrics, weighted_f1
from operators.interface import EMOTIONS
from operators.model import EmotionReader
from operators.model_description import (
    AdaptersDescription,
    EmotionHeadDescription,
    PartDescription,
    SentimentHeadDescription,
    ValenceMap,
    WeightsDescription,
)
from operators.model_folder import ENCODERS, PartModules
from operators.packaged_weights import MINILM, verified_folder
from operators.training import epochs as epochs_of_training
from operators.training import text_fitting, text_rows, text_variants
from operators.training.assembly import begin_folder, put_part
from operators.training.feature_cache import key_of, training_cache
from operators.training.progress import Track, silently
from operators.training.seeds import seed_figures
from operators.training.text_figures import emotion_figures, group_figures, sentiment_figures
from operators.training.text_fitting import RECIPE, UNKNOWN, TextRecipe, fit_text
from operators.training.text_merging import TrainedText, kept_of, mean_of
from operators.training.text_rows import (
    TextRows,
    WrittenTexts,
    states_below,
    written_opinions,
    written_utterances,
)
from operators.training.text_variants import TranscriptionErrors, as_caption, as_sentence

LEVEL: Final = 0.9
"""Share of the truth that the interval around a sentiment is to cover."""
STEEPEST: Final = 3.0
"""Sentiment reaches from -3 to 3, valence from -1 to 1."""
ERRORS_TRIED: Final = 0.15
"""Share of words wrong in the figures on transcription errors: a small recogniser on speech that is not read."""
_CHUNK: Final = 64


class TextData(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What is trained on, and what is chosen and calibrated on."""

    opinions: Opinions
    opinions_valid: Opinions
    utterances: Utterances
    utterances_valid: Utterances

    def errors(self) -> TranscriptionErrors:
        """Errors with words of the training rows."""
        return TranscriptionErrors([*self.opinions.texts, *self.utterances.texts])


def read_text_data(data: Path) -> TextData:
    """`data` holds the folders `mosi` and `meld`. Raises `DatasetError` where something of them is missing."""
    mosi, meld = data / "mosi", data / "meld"
    return TextData(
        opinions=read_mosi(mosi, "train"),
        opinions_valid=read_mosi(mosi, "valid"),
        utterances=read_meld(meld, "train"),
        utterances_valid=read_meld(meld, "dev"),
    )


def train_text(
    data: Path,
    output: Path,
    *,
    epochs: int = RECIPE.epochs,
    seeds: int = 1,
    device: str = "cpu",
    seed: int = 0,
    alone: bool = False,
    track: Track = silently,
    recipe: TextRecipe = RECIPE,
) -> dict[str, float]:
    """Puts a text part into the model folder `output`; the figures on MOSI's valid and MELD's dev rows.

    Of several `seeds`, from `seed` on, the mean of what they trained is put there, and mean and deviation of their own
    figures are among those of the part. A run that was broken off goes on after its last whole epoch. Raises
    `DatasetError` where something of the data is missing.
    """
    found = read_text_data(data)
    begin_folder(output, alone=alone)
    network = PackedMiniLM(verified_folder(MINILM), torch.device(device))
    train, valid = text_data_rows(network, found, recipe.first_layer, track)
    sources = [module.__file__ for module in (adapters, minilm, epochs_of_training, text_fitting, text_rows, text_variants)]
    made_of = [str(epochs), device, repr(recipe), *MINILM.digests.values(), *found.opinions.texts, *found.utterances.texts]
    made_of += [Path(source).read_text(encoding="utf-8") for source in sources if source]
    checkpoints = training_cache() / f"text-{key_of(*made_of)}"
    trained = [
        kept_of(fit_text(network, train, valid, checkpoints / str(s), epochs=epochs, device=device, seed=s, recipe=recipe))
        for s in range(seed, seed + seeds)
    ]
    command = f"affectstream train text --epochs {epochs} --seeds {seeds} --seed {seed}"
    metrics = put_text_part(output, trained, found, command=command)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return metrics


def text_data_rows(network: PackedMiniLM, data: TextData, layer: int, track: Track = silently) -> tuple[TextRows, TextRows]:
    """The rows to train on, in all ways of writing, and those to choose by, as a transcriber writes them."""
    errors = data.errors()

    def rows(opinions: Opinions, utterances: Utterances, spoken: WrittenTexts, said: WrittenTexts, title: str) -> TextRows:
        return TextRows(
            opinions=states_below(network, layer, spoken, track, f"MOSI {title}"),
            sentiment=torch.from_numpy(opinions.sentiment),
            utterances=states_below(network, layer, said, track, f"MELD {title}"),
            emotions=torch.from_numpy(utterances.emotions),
            polarities=torch.from_numpy(np.where(utterances.sentiments < 0, UNKNOWN, utterances.sentiments)),
        )

    opinions, utterances = data.opinions, data.utterances
    train = rows(opinions, utterances, written_opinions(opinions, errors), written_utterances(utterances, errors), "train")
    sentences = WrittenTexts(ways=([as_sentence(text) for text in data.opinions_valid.texts],))
    as_they_are = WrittenTexts(ways=(data.utterances_valid.texts,))
    return train, rows(data.opinions_valid, data.utterances_valid, sentences, as_they_are, "valid")


def put_text_part(output: Path, trained: Sequence[TrainedText], data: TextData, *, command: str) -> dict[str, float]:
    """Calibrates the mean of what was trained on the valid rows and writes the part; its figures.

    Figures are of texts through the encoder as it runs live, adapters merged.
    """
    spoken, said = ways_to_try(data)
    part, modules = _part(mean_of(trained), command)
    read = _Reading(modules, spoken, said)
    truth = torch.from_numpy(data.utterances_valid.emotions)
    residuals = data.opinions_valid.sentiment - read.values["sentences"]
    sentiment = SentimentHeadDescription(half_width=interval_half_width(residuals, LEVEL), level=LEVEL)
    logits = read.logits["written"]
    temperature = fit_temperature(logits, truth)
    emotion = msgspec.structs.replace(
        part.emotion, temperature=temperature, reliability=reliability((logits / temperature).softmax(1), truth)
    )
    reader = EmotionReader(head=modules.emotion, about=emotion)
    known = read.encoder_features([as_sentence(text) for text in data.opinions.texts])
    mapping = fit_valence_map(reader, known, data.opinions, read.spoken["sentences"], data.opinions_valid)
    metrics = {f"mosi_valid_{n}": v for n, v in sentiment_figures(read.values, data.opinions_valid, LEVEL).items()}
    metrics |= {f"meld_dev_{n}": v for n, v in emotion_figures(read.logits, data.utterances_valid).items()}
    if len(trained) > 1:
        plain = {"sentences": spoken["sentences"]}, {"written": said["written"]}
        metrics |= seed_figures([_own_figures(_Reading(_part(one, command)[1], *plain), data) for one in trained])
    put_part(
        output,
        "text",
        msgspec.structs.replace(
            part,
            emotion=emotion,
            sentiment=sentiment,
            metrics={name: round(value, 4) for name, value in metrics.items()},
            groups=group_figures(read.values["sentences"], data.opinions_valid, logits, data.utterances_valid),
        ),
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


def ways_to_try(data: TextData) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The valid texts of MOSI and of MELD in the ways that the figures are of, the plain one first."""
    errors, rng = data.errors(), random.Random(0)
    sentences = [as_sentence(text) for text in data.opinions_valid.texts]
    written = data.utterances_valid.texts
    spoken = {
        "sentences": sentences,
        "captions": [as_caption(text) for text in sentences],
        "errors": [errors(text, ERRORS_TRIED, rng) for text in sentences],
    }
    said = {
        "written": written,
        "captions": [as_caption(text) for text in written],
        "errors": [errors(text, ERRORS_TRIED, rng) for text in written],
    }
    return spoken, said


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


class _Reading:
    """What a part makes of texts, each dictionary by way of writing."""

    def __init__(self, modules: PartModules, spoken: Mapping[str, list[str]], said: Mapping[str, list[str]]) -> None:
        self._encoder = TextEncoder(adapters=modules.adapters)
        assert modules.sentiment is not None  # described by _part
        self.spoken = {way: self.encoder_features(texts) for way, texts in spoken.items()}
        with torch.inference_mode():
            self.values = {way: modules.sentiment(features)[:, 0].numpy() for way, features in self.spoken.items()}
            self.logits = {way: modules.emotion(self.encoder_features(texts)) for way, texts in said.items()}

    def encoder_features(self, texts: list[str]) -> Tensor:
        """Embeddings (n, 384)."""
        return torch.cat([self._encoder.encode(texts[k : k + _CHUNK]) for k in range(0, len(texts), _CHUNK)])


def _own_figures(reading: _Reading, data: TextData) -> dict[str, float]:
    found = sentiment_metrics(data.opinions_valid.sentiment, reading.values["sentences"])
    predicted = reading.logits["written"].argmax(1).numpy()
    return {
        "mosi_valid_mae": found["mae"],
        "mosi_valid_acc2_non0": found["acc2_non0"],
        "meld_dev_weighted_f1": weighted_f1(data.utterances_valid.emotions, predicted),
    }


def _part(trained: TrainedText, command: str) -> tuple[PartDescription, PartModules]:
    """The part as trained, not yet calibrated."""
    part = PartDescription(
        encoder=ENCODERS["text"][0],
        weights="text.safetensors",
        emotion=EmotionHeadDescription(labels=EMOTIONS, temperature=1.0, reliability=0.0),
        sentiment=SentimentHeadDescription(half_width=1.0, level=LEVEL),
        adapters=AdaptersDescription(rank=trained.adapters.rank, first_layer=trained.adapters.first_layer),
        command=command,
    )
    modules = PartModules("text", part)
    modules.emotion.load_state_dict(trained.emotion.state_dict())
    assert modules.sentiment is not None  # described above
    assert modules.adapters is not None
    modules.sentiment.load_state_dict(trained.sentiment.state_dict())
    modules.adapters.load_state_dict(trained.adapters.state_dict())
    return part, modules.eval()
