"""`model.yaml`: what a model folder holds, as a strict schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml
from msgspec import Meta

from operators.interface import EMOTIONS
from stream.errors import ModelFolderError

DESCRIPTION_FILE = "model.yaml"
PermittedUse = Literal["any", "non-commercial", "research"]
"""From the least to the most restrictive."""
USES: tuple[PermittedUse, ...] = ("any", "non-commercial", "research")

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, Meta(gt=0.0)]
Trust = Annotated[float, Meta(gt=0.0, le=1.0)]
Modality = Literal["text", "audio", "video"]
Emotion = Literal["neutral", "joy", "sadness", "anger", "surprise", "fear", "disgust"]
Units = Annotated[int, Meta(ge=0, le=4096)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the description: a key that is not named here is refused."""


class EmotionHeadDescription(_Strict, frozen=True, kw_only=True):
    """A head for emotions: `labels` in the order of its outputs, its hidden units (0: linear) and its calibration.

    `temperature` divides the logits; `reliability` is the modality's in decision-level fusion (operators/calibration.py);
    beyond the distance `familiar` features are unlike those of the training, and the temperature grows (operators/model.py).
    """

    labels: tuple[str, ...]
    hidden: Units = 0
    temperature: Positive
    reliability: Share
    familiar: Positive | None = None


class SentimentHeadDescription(_Strict, frozen=True, kw_only=True):
    """A head for sentiment, and half the width of the interval that covers the share `level` of the truth."""

    hidden: Units = 0
    half_width: Positive
    level: Share


class ValenceMap(_Strict, frozen=True, kw_only=True):
    """Sentiment where nothing is said: `slope` times the valence; the interval as in `SentimentHeadDescription`."""

    slope: float
    half_width: Positive
    level: Share


class AdaptersDescription(_Strict, frozen=True, kw_only=True):
    """Low-rank changes of the text encoder's dense layers from `first_layer` on (operators/encoders/adapters.py)."""

    rank: Annotated[int, Meta(ge=1, le=64)]
    first_layer: Annotated[int, Meta(ge=0, le=5)] = 0


class PartDescription(_Strict, frozen=True, kw_only=True):
    """What a model does with one modality: a registered encoder, heads, and the file that holds what was trained.

    `metrics` are figures on validation rows, by name; `groups` one figure each by the group that its rows are of, where the
    data name any; `command` is what trained it. Text alone may have `adapters`, audio alone has `members`: how many
    trainings its head is the mean of.
    """

    encoder: str
    weights: str
    emotion: EmotionHeadDescription
    sentiment: SentimentHeadDescription | None = None
    adapters: AdaptersDescription | None = None
    members: Annotated[int, Meta(ge=1, le=20)] | None = None
    metrics: dict[str, float] = {}
    groups: dict[str, dict[str, float]] = {}
    command: str = ""


class FusionDescription(_Strict, frozen=True, kw_only=True):
    """How the parts become one result, by the method's registered name.

    `trust` is how much of a modality's evidence counts beside others, 1 where nothing was fitted; `frequencies` are those of
    the emotions among the rows that a modality's head was calibrated on, equal where none are named. `data` says what they
    were fitted on, `metrics` are figures of what is fused, `command` is what fitted it.
    """

    method: str
    trust: dict[Modality, Trust] = {}
    frequencies: dict[Modality, dict[Emotion, Share]] = {}
    data: str = ""
    metrics: dict[str, float] = {}
    command: str = ""
    sentiment_from_valence: ValenceMap | None = None


class WeightsDescription(_Strict, frozen=True, kw_only=True):
    """A file of weights: its digest, and under which licence and for what use its data allow it."""

    sha256: Sha256
    licence: str
    use: PermittedUse
    data: str


class BaseWeights(_Strict, frozen=True, kw_only=True):
    """Weights that come with an installed package, on which the model was trained: the digest of each file."""

    package: str
    licence: str
    files: dict[str, Sha256]


class ModelDescription(_Strict, frozen=True, kw_only=True):
    """A model: its name, its emotions in the published order, a part for each modality it reads, fusion and weights."""

    format: Literal[1]
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    labels: tuple[str, ...] = EMOTIONS
    text: PartDescription | None = None
    audio: PartDescription | None = None
    video: PartDescription | None = None
    fusion: FusionDescription
    weights: dict[str, WeightsDescription]
    base_weights: tuple[BaseWeights, ...] = ()

    @property
    def parts(self) -> dict[str, PartDescription]:
        """The parts that are there, by modality."""
        parts = {"text": self.text, "audio": self.audio, "video": self.video}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def permitted_use(self) -> PermittedUse:
        """The most restrictive permitted use among the weights."""
        return max((weights.use for weights in self.weights.values()), key=USES.index, default="any")


def read_description(folder: Path) -> ModelDescription:
    """The description in a model folder. Raises `ModelFolderError` that names what is missing, unknown or of a wrong type."""
    path = folder / DESCRIPTION_FILE
    try:
        return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), ModelDescription)
    except OSError as error:
        found = "no folder" if not folder.is_dir() else f"no {DESCRIPTION_FILE}" if not path.exists() else error.strerror
        raise ModelFolderError(f"model folder {folder}", found=found, fix="check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ModelFolderError(f"model description {path}", found=str(error)) from error


def write_description(folder: Path, description: ModelDescription) -> None:
    """Writes `model.yaml`, keys in the order of the schema."""
    plain = msgspec.to_builtins(description)
    text = yaml.safe_dump(_without_none(plain), sort_keys=False, allow_unicode=True, width=120)
    (folder / DESCRIPTION_FILE).write_text(text, encoding="utf-8")


def _without_none(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list | tuple) else value
