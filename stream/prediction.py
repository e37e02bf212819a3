"""The prediction: the one published schema, versioned, each field with its unit, range and formula.

Fields may be added within a version, never changed. `result` is a function of the inputs and is compared between runs;
`measured` is not. Fields that nothing fills are absent from the encoded form.
"""

from __future__ import annotations

import math
import typing
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from stream.errors import PublishingError
from stream.timeline.segments import Absence, Reason, SegmentKind, SliceState, Status

SCHEMA_VERSION = 1

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Signed = Annotated[float, Meta(ge=-1.0, le=1.0)]
Sentiment = Annotated[float, Meta(ge=-3.0, le=3.0)]
Nanoseconds = Annotated[int, Meta(description="session time, integer nanoseconds since the session's zero")]
Polarity = typing.Literal["negative", "neutral", "positive"]


_limit_cache: dict[type, dict[str, tuple[float, float]]] = {}


def _limits(struct: type) -> dict[str, tuple[float, float]]:
    """The finite limits of a struct's numeric fields (and of the values of its mappings), by field name."""
    if struct not in _limit_cache:
        found = {}
        for field in msgspec.inspect.type_info(struct).fields:  # type: ignore[attr-defined]
            limits = _limits_of(field.type)
            if limits:
                found[field.name] = limits
        _limit_cache[struct] = found
    return _limit_cache[struct]


def _limits_of(kind: Any) -> tuple[float, float] | None:
    if isinstance(kind, msgspec.inspect.Metadata):
        return _limits_of(kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        return next(filter(None, map(_limits_of, kind.types)), None)
    if isinstance(kind, msgspec.inspect.DictType):
        return _limits_of(kind.value_type)
    if isinstance(kind, msgspec.inspect.FloatType | msgspec.inspect.IntType) and (kind.ge is not None or kind.le is not None):
        return (-math.inf if kind.ge is None else kind.ge, math.inf if kind.le is None else kind.le)
    return None


class Checked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A struct whose numeric limits hold from construction on: encoding checks none and writes NaN as null."""

    def __post_init__(self) -> None:
        for name, (low, high) in _limits(type(self)).items():
            value = getattr(self, name)
            if value is None:
                continue
            for number in value.values() if isinstance(value, dict) else (value,):
                if not (math.isfinite(number) and low <= number <= high):
                    raise PublishingError(
                        f"prediction field {type(self).__name__}.{name}",
                        found=number,
                        expected=f"a finite number in [{low:g}, {high:g}]",
                        fix="the operator that made it is at fault",
                    )


class Subject(Checked, frozen=True, kw_only=True, omit_defaults=True):
    """Whose affect the prediction states."""

    method: Annotated[
        typing.Literal["active-speaker", "largest-face", "unknown"],
        Meta(description="how the subject was picked; largest-face is a fallback that does not know who speaks"),
    ]
    track: Annotated[int, Meta(ge=0, description="the face track; absent where no face was picked")] | None = None
    certainty: Annotated[Share, Meta(description="probability that it is the subject; absent for fallbacks")] | None = None


class SentimentEstimate(Checked, frozen=True, kw_only=True, omit_defaults=True):
    """Sentiment in [-3, 3] (the scale of CMU-MOSI: -3 strongly negative, 3 strongly positive)."""

    value: Sentiment
    low: Annotated[Sentiment, Meta(description="lower end of the interval that covers `level` of the truth")] | None = None
    high: Annotated[Sentiment, Meta(description="upper end of that interval")] | None = None
    level: Annotated[Share, Meta(description="the share that the interval is calibrated to cover")] | None = None


class TranscriptWord(Checked, frozen=True, kw_only=True, omit_defaults=True):
    """A word of the transcript on the session's timeline."""

    text: str
    start_ns: Nanoseconds
    end_ns: Nanoseconds
    estimated: Annotated[bool, Meta(description="times were spread over the utterance, not measured")] = False


class Transcript(Checked, frozen=True, kw_only=True, omit_defaults=True):
    """What was said, and where the words come from."""

    text: str
    origin: Annotated[str, Meta(description="'given' for a declared stream of words, else the transcriber's name")]
    words: tuple[TranscriptWord, ...] = ()
    log_probability: (
        Annotated[float, Meta(ge=-100.0, le=0.0, description="mean log-probability of the decoded tokens")] | None
    ) = None


class ModalityReport(Checked, frozen=True, kw_only=True, omit_defaults=True):
    """What one modality gave to this prediction."""

    state: SliceState
    absence: Annotated[Absence, Meta(description="why it is absent")] | None = None
    coverage: Annotated[Share, Meta(description="share of the span that its packets cover")] = 0.0
    weight: Annotated[Share, Meta(description="share of this modality in the fused result; all weights add up to 1")] = 0.0
    faces_seen: Annotated[int, Meta(ge=0, description="most faces visible at one instant (video)")] | None = None
    rejected: Annotated[bool, Meta(description="a transcript was made and rejected as improbable (text)")] = False


class ModelIdentity(Checked, frozen=True, kw_only=True, omit_defaults=True):
    """Which model said it."""

    name: str
    digest: Annotated[str, Meta(description="SHA-256 over the model folder's files")]
    licence: Annotated[str, Meta(description="the most restrictive permitted use among its weights")]


class Result(Checked, frozen=True, kw_only=True, omit_defaults=True):
    """The part that is a function of the inputs. Identity: (session, source_epoch, lane, start_ns)."""

    session: str
    source_epoch: Annotated[int, Meta(ge=0, description="grows at reconnect, clock reset, discontinuity")] = 0
    lane: str = "speech"
    kind: SegmentKind
    start_ns: Nanoseconds
    end_ns: Nanoseconds
    start_time: Annotated[str, Meta(description="wall clock of start_ns, RFC 3339; absent where unknown")] | None = None
    end_time: Annotated[str, Meta(description="wall clock of end_ns, RFC 3339; absent where unknown")] | None = None
    continues: Annotated[bool, Meta(description="the utterance before was cut for its length and goes on here")] = False
    revision: Annotated[int, Meta(ge=0, description="names the cadence step; a skipped one leaves a gap")]
    status: Status
    reason: Reason
    subject: Subject | None = None
    sentiment: SentimentEstimate | None = None
    polarity: (
        Annotated[Polarity, Meta(description="of sentiment.value: negative below -0.5, positive above 0.5, else neutral")] | None
    ) = None
    emotions: Annotated[dict[str, Share], Meta(description="calibrated probabilities, adding up to 1")] | None = None
    valence: Annotated[Signed, Meta(description="-1 unpleasant .. 1 pleasant; docs/numbers.md has the formula")] | None = None
    arousal: Annotated[Signed, Meta(description="-1 calm .. 1 excited; docs/numbers.md has the formula")] | None = None
    transcript: Transcript | None = None
    modalities: dict[str, ModalityReport] = {}
    model: ModelIdentity | None = None
    clock_uncertainty_ns: (
        Annotated[int, Meta(ge=0, description="stated uncertainty between the streams' clocks; 0 inside one container")] | None
    ) = None


class Measured(Checked, frozen=True, kw_only=True, omit_defaults=True):
    """What was measured while it was made; outside every comparison."""

    latency_ms: Annotated[
        dict[str, Annotated[float, Meta(ge=0.0, le=1e9)]],
        Meta(description="milliseconds by stage: queue, speech, transcription, affect, total (from decision to result)"),
    ] = {}
    lag_ms: (
        Annotated[float, Meta(ge=-1e12, le=1e12, description="wall clock of the result less that of end_ns; in real time only")] | None
    ) = None
    host: str | None = None
    device: str | None = None


class Prediction(Checked, frozen=True, kw_only=True, omit_defaults=False):
    """One revision of one segment, as published."""

    version: Annotated[int, Meta(ge=1, description="version of this schema")] = msgspec.field(default=SCHEMA_VERSION)
    result: Result
    measured: Measured = msgspec.field(default_factory=Measured)


def encode(prediction: Prediction) -> bytes:
    """A prediction as one line of JSON, UTF-8, without a line end."""
    return _encoder.encode(prediction)


def decode(payload: bytes | str) -> Prediction:
    """A prediction out of JSON. Raises `PublishingError` where it does not follow the schema."""
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, PublishingError) as error:
        raise PublishingError("prediction", found=str(error), expected=f"schema version {SCHEMA_VERSION}") from error


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a prediction."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Prediction)}


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Prediction)
