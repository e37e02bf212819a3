"""Frames that somebody sends who means harm: nonsense, and what almost follows the protocol."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

SAMPLE: dict[str, Any] = json.loads(max((Path(__file__).parent / "samples").glob("*.json")).read_text())
"""What the newest released version sends."""
DEEP = b"[" * 3_000
"""Deeper than a decoder goes, and shorter than a request may be."""
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6) | st.just("x" * 300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)
times = st.sampled_from(["0001-01-01T00:00:00", "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59", "now", "", "1e9"])


def altered(text: str) -> st.SearchStrategy[bytes]:
    """JSON with one of its values or names another, with bytes cut out or put in, as it is, or nonsense."""
    frame = text.encode()
    whole = json.loads(text)

    @st.composite
    def replaced(draw: st.DrawFn) -> bytes:
        inside = copy.deepcopy(whole)
        at, way = draw(st.sampled_from(sorted(places(whole), key=repr)))
        parent = inside
        for step in way:
            parent = parent[step]
        if isinstance(parent, dict) and draw(st.booleans()):
            parent[draw(st.text(max_size=6))] = parent.pop(at)
        else:
            parent[at] = draw(values | times)
        return json.dumps(inside).encode()

    spliced = st.builds(
        lambda a, b, put: frame[:a] + put + frame[b:],
        st.integers(0, len(frame)),
        st.integers(0, len(frame)),
        st.binary(max_size=6),
    )
    return replaced() | spliced | st.sampled_from([frame, b"", DEEP]) | st.binary(max_size=60)


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, tuple[Any, ...]]]:
    """Each place inside JSON: its name or index, and the way to what it is in."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for name, inner in inside for place in ((name, way), *places(inner, (*way, name)))]


topics = st.sampled_from([b"prediction/s1", b"session/s1", b"redacted/s1", b"prediction/", b"", b"heartbeat"]) | st.binary(
    max_size=20
).map(lambda tail: b"prediction/" + tail)
(_header, _prediction), (_, _event) = (SAMPLE[name][1].split("\n", 1) for name in ("prediction", "event"))
headers = altered(_header)
payloads = altered(_prediction) | altered(_event)
heartbeats = altered(SAMPLE["heartbeat"][1])
requests = altered(SAMPLE["request"])
pages = altered(SAMPLE["page"]) | altered(SAMPLE["refusal"])
_seconds = st.tuples(headers, st.sampled_from([b"\n"] * 9 + [b""]), payloads).map(b"".join)
messages = st.tuples(topics, _seconds).map(list)
few = st.lists(st.binary(max_size=20), max_size=5)
"""Any number of any frames."""
