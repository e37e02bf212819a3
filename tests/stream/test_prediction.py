from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stream.errors import PublishingError
from stream.prediction import (
    SCHEMA_VERSION,
    Measured,
    ModalityReport,
    ModelIdentity,
    Prediction,
    Result,
    SentimentEstimate,
    Subject,
    Transcript,
    TranscriptWord,
    decode,
    encode,
    json_schema,
)

validator = Draft202012Validator(json_schema())

SMALLEST = {"session": "s", "kind": "silence", "start_ns": 0, "end_ns": 2, "revision": 1, "status": "final", "reason": "window"}

shares = st.floats(0, 1)
signed = st.floats(-1, 1)
sentiments = st.floats(-3, 3)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
spans = st.tuples(st.integers(-(10**9), 2**53), st.integers(0, 10**12)).map(lambda s: {"start_ns": s[0], "end_ns": s[0] + s[1]})


def adding_up(names: list[str]) -> st.SearchStrategy[dict[str, float]]:
    weights = st.lists(st.integers(1, 100), min_size=len(names), max_size=len(names))
    return weights.map(lambda w: {name: value / sum(w) for name, value in zip(names, w, strict=True)})


@st.composite
def results(draw: st.DrawFn) -> Result:
    optional = lambda strategy: draw(st.none() | strategy)  # noqa: E731
    word = st.builds(lambda text, span, e: TranscriptWord(text=text, estimated=e, **span), texts, spans, st.booleans())
    weights = draw(adding_up(["text", "audio", "video"]))
    low, high = sorted((draw(sentiments), draw(sentiments)))
    return Result(
        session=draw(texts),
        source_epoch=draw(st.integers(0, 9)),
        kind=draw(st.sampled_from(["utterance", "silence", "window", "line", "hole"])),
        **draw(spans),
        start_time=optional(st.just("2026-01-01T00:00:00.123456789Z")),
        continues=draw(st.booleans()),
        revision=draw(st.integers(0, 99)),
        status=draw(st.sampled_from(["provisional", "final", "amended", "abandoned"])),
        reason="end",
        subject=optional(st.builds(Subject, method=st.just("largest-face"), track=st.none() | st.integers(0, 9))),
        sentiment=optional(sentiments.map(lambda v: SentimentEstimate(value=v, low=low, high=high, level=0.9))),
        polarity=optional(st.sampled_from(["negative", "neutral", "positive"])),
        emotions=optional(adding_up(["joy", "fear", "neutral"])),
        valence=optional(signed),
        arousal=optional(signed),
        transcript=optional(
            st.builds(
                Transcript,
                text=texts,
                origin=texts,
                words=st.lists(word, max_size=3).map(tuple),
                log_probability=st.none() | st.floats(-100, 0),
            )
        ),
        modalities={
            name: ModalityReport(
                state=draw(st.sampled_from(["present", "absent", "stale", "imputed", "pending", "shed"])),
                absence=optional(st.sampled_from(["idle", "ended"])),
                coverage=draw(shares),
                weight=weight,
                faces_seen=optional(st.integers(0, 5)),
                rejected=draw(st.booleans()),
            )
            for name, weight in weights.items()
        },
        model=optional(
            st.builds(
                ModelIdentity,
                name=texts,
                digest=texts,
                licence=texts,
                licences=st.none() | st.dictionaries(texts, texts, max_size=2),
            )
        ),
        clock_uncertainty_ns=optional(st.integers(0, 10**9)),
    )


measurements = st.builds(
    Measured,
    latency_ms=st.dictionaries(st.sampled_from(["queue", "speech", "total"]), st.floats(0, 1e6)),
    lag_ms=st.none() | st.floats(-1e6, 1e6),
    host=st.none() | texts,
)


@given(results(), measurements)
@settings(deadline=None, max_examples=60)
def test_every_encoding_validates_and_decodes_to_the_same(result: Result, measured: Measured) -> None:
    prediction = Prediction(result=result, measured=measured)
    line = encode(prediction)
    assert b"\n" not in line
    validator.validate(json.loads(line))
    assert decode(line) == prediction


@given(results())
@settings(deadline=None, max_examples=30)
def test_only_what_is_none_is_left_out(result: Result) -> None:
    def compare(struct: msgspec.Struct, written: dict[str, Any]) -> None:
        values = {name: getattr(struct, name) for name in struct.__struct_fields__}
        assert set(written) == {name for name, value in values.items() if value is not None}
        for name, value in values.items():
            if isinstance(value, msgspec.Struct):
                compare(value, written[name])
            elif isinstance(value, dict):
                assert set(value) == set(written[name])
                for key, inner in value.items():
                    if isinstance(inner, msgspec.Struct):
                        compare(inner, written[name][key])
            elif isinstance(value, tuple):
                for inner, piece in zip(value, written[name], strict=True):
                    compare(inner, piece)

    prediction = Prediction(result=result)
    compare(prediction, json.loads(encode(prediction)))


def test_the_smallest_prediction_says_everything_that_has_a_value() -> None:
    written = json.loads(encode(Prediction(result=Result(**SMALLEST))))
    assert written == {
        "version": SCHEMA_VERSION,
        "result": SMALLEST | {"source_epoch": 0, "lane": "speech", "continues": False, "modalities": {}},
        "measured": {"latency_ms": {}},
    }


def test_default_mappings_are_not_shared() -> None:
    first, second = Result(**SMALLEST), Result(**SMALLEST)
    assert first.modalities is not second.modalities


def full() -> dict[str, Any]:
    """A valid encoding in which every numeric field has a value."""
    prediction = Prediction(
        result=Result(
            **SMALLEST,
            subject=Subject(method="active-speaker", track=3, certainty=0.8),
            sentiment=SentimentEstimate(value=1.0, low=0.5, high=1.5, level=0.9),
            emotions={"joy": 0.75, "anger": 0.25},
            valence=0.1,
            arousal=-0.1,
            transcript=Transcript(
                text="hi", origin="given", log_probability=-0.1, words=(TranscriptWord(text="hi", start_ns=0, end_ns=1),)
            ),
            modalities={"video": ModalityReport(state="present", coverage=1.0, weight=1.0, faces_seen=2)},
            clock_uncertainty_ns=5,
        ),
        measured=Measured(latency_ms={"total": 1.0}, lag_ms=2.0),
    )
    return json.loads(encode(prediction))


def numeric_paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [p for key, inner in value.items() for p in numeric_paths(inner, (*path, key))]
    if isinstance(value, list):
        return [p for index, inner in enumerate(value) for p in numeric_paths(inner, (*path, index))]
    return [path] if isinstance(value, int | float) and not isinstance(value, bool) else []


@pytest.mark.parametrize("path", numeric_paths(full()), ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize("wrong", [None, "1", True, -1e13])
def test_the_schema_refuses_null_text_and_what_is_out_of_range(path: tuple[Any, ...], wrong: Any) -> None:
    if wrong == -1e13 and path[-1] in ("start_ns", "end_ns"):
        pytest.skip("session time has no limits")
    document = full()
    validator.validate(document)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = wrong
    assert not validator.is_valid(document)


@pytest.mark.parametrize("name", ["session", "source_epoch", "lane", "kind", "continues", "revision", "modalities"])
def test_the_schema_asks_for_what_is_always_written(name: str) -> None:
    document = full()
    del document["result"][name]
    assert not validator.is_valid(document)


def test_every_field_of_the_schema_is_described() -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    for title, definition in schema["$defs"].items():
        assert definition["description"], title
        for name, field in definition["properties"].items():
            assert field.get("description"), f"{title}.{name}"
            assert "default" not in field


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 3.01, -3.01])
def test_limits_hold_at_construction(number: float) -> None:
    with pytest.raises(PublishingError, match=r"SentimentEstimate\.value: found .*expected a finite number in \[-3, 3\]"):
        SentimentEstimate(value=number)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"end_ns": -1}, "end_ns"),
        ({"emotions": {"joy": 0.5, "fear": 0.4}}, "emotions"),
        ({"emotions": {"joy": math.nan}}, "emotions"),
        ({"modalities": {"text": ModalityReport(state="present", weight=0.4)}}, "modalities"),
        ({"valence": 1.5}, "valence"),
        ({"clock_uncertainty_ns": -1}, "clock_uncertainty_ns"),
    ],
)
def test_a_broken_result_names_its_field(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(PublishingError, match=rf"Result\.{named}"):
        Result(**SMALLEST | fields)


def test_an_interval_is_in_order() -> None:
    with pytest.raises(PublishingError, match=r"SentimentEstimate\.low"):
        SentimentEstimate(value=0, low=1, high=-1)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"{}",
        b'{"version":1,"result":{}}',
        "\ud800",
        b'{"result":{},"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        json.dumps(full() | {"version": 2}).encode(),
        json.dumps(full()).replace("0.75", "NaN").encode(),
        json.dumps(full()).replace("0.75", "0.95").encode(),
    ],
    ids=range(10),
)
def test_what_does_not_follow_the_schema_is_refused_in_one_line(payload: bytes | str) -> None:
    with pytest.raises(PublishingError) as caught:
        decode(payload)
    assert "\n" not in str(caught.value)


def test_fields_that_a_later_writer_adds_are_ignored() -> None:
    document = full()
    document["result"]["gaze"] = [0.1, 0.2]
    validator.validate(document)
    assert decode(json.dumps(document)) == decode(json.dumps(full()))
