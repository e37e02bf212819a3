"""The prediction: the one published schema, versioned, each field with its unit, range and formula.

Fields may be added within a version, never changed. `result` is a function of the inputs and is compared between runs;
`measured` is not. A field that is None is absent from the encoded form; every other field is always written.
"""

from __future__ import annotations

import copy
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
RFC3339 = Meta(extra_json_schema={"format": "date-time"})
SUM_TOLERANCE = 1e-3
"""How far from 1 shares that add up to 1 may be: room for rounding, none for forgetting one."""


T = typing.TypeVar("T")


def _written(default: T) -> T:
    """A default that `omit_defaults` does not leave out: a factory's value is never taken for the default itself."""
    return msgspec.field(default_factory=lambda: copy.copy(default))


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
                    raise self._broken(name, number, f"a finite number in [{low:g}, {high:g}]")

    def _broken(self, name: str, found: object, expected: str) -> PublishingError:
        return PublishingError(
            f"prediction field {type(self).__name__}.{name}",
            found=found,
            expected=expected,
            fix="the operator that made it is at fault",
        )


class Subject(Checked, frozen=True, kw_only=True, omit_defaults=True):
    """Whose affect the prediction states."""

    method: Annotated[
        typing.Literal["active-speaker", "largest-face", "unknown", "listener"],
        Meta(
            description="how the subject was picked; largest-face is a fallback that does not know who speaks; listener: the "
            "person of a lane face:<track>"
        ),
    ]
    track: Annotated[int, Meta(ge=0, description="the face track; absent where no face was picked")] | None = None
    certainty: Annotated[Share, Meta(description="probability that it is the subject; absent for fallbacks")] | None = None
    licence: (
        Annotated[
            str, Meta(description="permitted use and licence of the weights that judged who is heard; absent where none did")
        ]
        | None
    ) = None


class SentimentEstimate(Checked, frozen=True, kw_only=True, omit_defaults=True):
    """Sentiment in [-3, 3] (the scale of CMU-MOSI: -3 strongly negative, 3 strongly positive)."""

    value: Annotated[Sentiment, Meta(description="the estimate, on that scale")]
    low: Annotated[Sentiment, Meta(description="lower end of the interval that covers `level` of the truth")] | None = None
    high: Annotated[Sentiment, Meta(description="upper end of that interval")] | None = None
    level: Annotated[Share, Meta(description="the share that the interval is calibrated to cover")] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low is not None and self.high is not None and self.low > self.high:
            raise self._broken("low", self.low, f"at most `high`, {self.high:g}")


class TranscriptWord(Checked, frozen=True, kw_only=True, omit_defaults=True):
    """A word of the transcript on the session's timeline."""

    text: Annotated[str, Meta(description="the word as written")]
    start_ns: Annotated[Nanoseconds, Meta(description="where it begins: session time, integer nanoseconds")]
    end_ns: Annotated[Nanoseconds, Meta(description="where it ends, exclusive: session time, integer nanoseconds")]
    estimated: Annotated[bool, Meta(description="times were spread over the utterance, not measured")] = _written(False)


class Transcript(Checked, frozen=True, kw_only=True, omit_defaults=True):
    """What was said, and where the words come from."""

    text: Annotated[str, Meta(description="all words, as one line")]
    origin: Annotated[str, Meta(description="'given' for a declared stream of words, else the transcriber's name")]
    words: Annotated[tuple[TranscriptWord, ...], Meta(description="the words with their times, in order")] = _written(())
    log_probability: (
        Annotated[float, Meta(ge=-100.0, le=0.0, description="mean log-probability of the decoded tokens")] | None
    ) = None


class ModalityReport(Checked, frozen=True, kw_only=True, omit_defaults=True):
    """What one modality gave to this prediction."""

    state: Annotated[
        SliceState,
        Meta(
            description="present: used; absent: there is none; stale: older than the span; imputed: filled in; "
            "pending: may still come; shed: left out because the pipeline was behind"
        ),
    ]
    absence: Annotated[Absence, Meta(description="why it is absent")] | None = None
    coverage: Annotated[Share, Meta(description="share of the span that its packets cover")] = _written(0.0)
    weight: Annotated[
        Share, Meta(description="share of this modality in the fused result; where there is one, all weights add up to 1")
    ] = _written(0.0)
    faces_seen: Annotated[int, Meta(ge=0, description="most faces visible at one instant (video)")] | None = None
    rejected: Annotated[bool, Meta(description="a transcript was made and rejected as improbable (text)")] = _written(False)


class ModelIdentity(Checked, frozen=True, kw_only=True, omit_defaults=True):
    """Which model said it."""

    name: Annotated[str, Meta(description="the model folder's name for itself")]
    digest: Annotated[str, Meta(description="SHA-256 over the model folder's files")]
    licence: Annotated[str, Meta(description="the most restrictive permitted use among its weights")]
    licences: (
        Annotated[
            dict[str, str],
            Meta(description="permitted use and licence of each of its weights, by file; absent where none are stated"),
        ]
        | None
    ) = None


class Result(Checked, frozen=True, kw_only=True, omit_defaults=True):
    """The part that is a function of the inputs. Identity: (session, source_epoch, lane, start_ns)."""

    session: Annotated[str, Meta(description="one scene with its own timeline")]
    source_epoch: Annotated[int, Meta(ge=0, description="grows at reconnect, clock reset, discontinuity")] = _written(0)
    lane: Annotated[
        str,
        Meta(
            description="a row of segments that tile the timeline: 'speech', the utterances and the windows where nobody "
            "speaks; 'face:<track>', windows of a visible person who does not speak"
        ),
    ] = _written("speech")
    kind: Annotated[
        SegmentKind,
        Meta(
            description="utterance: speech; silence: a window where nobody speaks; window: of a fixed grid; "
            "line: of a given transcript; hole: nothing is known of this span"
        ),
    ]
    start_ns: Annotated[Nanoseconds, Meta(description="start: session time, integer nanoseconds; never changes")]
    end_ns: Annotated[
        Nanoseconds, Meta(description="end, exclusive: session time, integer nanoseconds; may grow while provisional")
    ]
    start_time: Annotated[str, RFC3339, Meta(description="wall clock of start_ns, RFC 3339; absent where unknown")] | None = (
        None
    )
    end_time: Annotated[str, RFC3339, Meta(description="wall clock of end_ns, RFC 3339; absent where unknown")] | None = None
    continues: Annotated[bool, Meta(description="the utterance before was cut for its length and goes on here")] = _written(
        False
    )
    revision: Annotated[int, Meta(ge=0, description="names the cadence step; a skipped one leaves a gap")]
    status: Annotated[
        Status,
        Meta(
            description="provisional: the segment goes on; final: complete; amended: final with late words, once; "
            "abandoned: lost in a crash"
        ),
    ]
    reason: Annotated[
        Reason,
        Meta(
            description="provisional: cadence; final: what closed the segment (silence after it, speech after it, longest "
            "length, window or line over, stream idle, end, reconnect); amended: words came, or time-out"
        ),
    ]
    subject: Annotated[Subject | None, Meta(description="absent where nobody was picked")] = None
    sentiment: Annotated[SentimentEstimate | None, Meta(description="absent where nothing present says anything")] = None
    polarity: (
        Annotated[Polarity, Meta(description="of sentiment.value: negative below -0.5, positive above 0.5, else neutral")]
        | None
    ) = None
    emotions: Annotated[dict[str, Share], Meta(description="calibrated probabilities, adding up to 1")] | None = None
    valence: Annotated[Signed, Meta(description="-1 unpleasant .. 1 pleasant; docs/numbers.md has the formula")] | None = None
    arousal: Annotated[Signed, Meta(description="-1 calm .. 1 excited; docs/numbers.md has the formula")] | None = None
    transcript: Annotated[Transcript | None, Meta(description="absent where there are no words")] = None
    modalities: Annotated[
        dict[str, ModalityReport], Meta(description="by name: text, audio, video; absent ones are listed, never zero-filled")
    ] = _written({})
    model: Annotated[ModelIdentity | None, Meta(description="absent where no model was asked (a hole)")] = None
    clock_uncertainty_ns: (
        Annotated[int, Meta(ge=0, description="stated uncertainty between the streams' clocks; 0 inside one container")] | None
    ) = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.end_ns < self.start_ns:
            raise self._broken("end_ns", self.end_ns, f"at least start_ns, {self.start_ns}")
        if self.emotions is not None and not _adds_up(self.emotions.values()):
            raise self._broken("emotions", sum(self.emotions.values()), "probabilities that add up to 1")
        weights = [report.weight for report in self.modalities.values()]
        if any(weights) and not _adds_up(weights):
            raise self._broken("modalities", sum(weights), "weights that add up to 1")


class Measured(Checked, frozen=True, kw_only=True, omit_defaults=True):
    """What was measured while it was made; outside every comparison."""

    latency_ms: Annotated[
        dict[str, Annotated[float, Meta(ge=0.0, le=1e9)]],
        Meta(
            description="milliseconds by stage: speech, transcription, affect (its queue included), total (from decision "
            "to result)"
        ),
    ] = _written({})
    lag_ms: (
        Annotated[float, Meta(ge=-1e12, le=1e12, description="wall clock of the result less that of end_ns; in real time only")]
        | None
    ) = None
    host: Annotated[str, Meta(description="name of the machine")] | None = None
    device: Annotated[str, Meta(description="what the model ran on, such as cpu or cuda:0")] | None = None


class Prediction(Checked, frozen=True, kw_only=True, omit_defaults=True):
    """One revision of one segment, as published."""

    version: Annotated[int, Meta(ge=1, description="version of this schema")] = _written(SCHEMA_VERSION)
    result: Annotated[Result, Meta(description="a function of the inputs")]
    measured: Annotated[Measured, Meta(description="of this run; outside every comparison")] = _written(Measured())


def encode(prediction: Prediction) -> bytes:
    """A prediction as one line of JSON, UTF-8, without a line end."""
    return _encoder.encode(prediction)


def decode(payload: bytes | str) -> Prediction:
    """A prediction out of JSON. Raises `PublishingError` where it does not follow the schema."""
    try:
        prediction = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError, PublishingError) as error:
        raise PublishingError("prediction", found=str(error), expected=f"schema version {SCHEMA_VERSION}") from error
    if prediction.version != SCHEMA_VERSION:
        raise PublishingError("prediction", found=f"schema version {prediction.version}", expected=SCHEMA_VERSION)
    return prediction


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a prediction as it is encoded: optional fields are absent, never null."""
    (reference,), definitions = msgspec.json.schema_components([Prediction], ref_template="#/$defs/{name}")
    for definition in definitions.values():
        _as_encoded(definition)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **reference, "$defs": definitions}


def _as_encoded(definition: dict[str, Any]) -> None:
    """Makes a struct's schema say what the encoding does: None is left out, everything else is written."""
    required = []
    for name, schema in definition["properties"].items():
        schema.pop("default", None)
        if {"type": "null"} not in schema.get("anyOf", ()):
            required.append(name)
            continue
        (described,) = (choice for choice in schema.pop("anyOf") if choice != {"type": "null"})
        schema.update(described)
    definition["required"] = required


def _adds_up(shares: typing.Iterable[float]) -> bool:
    return abs(sum(shares) - 1.0) <= SUM_TOLERANCE


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Prediction)
