from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.bench.alignment_disturbances import DISTURBANCES, simulated_events, simulated_trace
from deploy.bench.alignment_trace import (
    Header,
    StreamHeader,
    TraceEnd,
    TracePacket,
    live_streams,
    read_trace,
    write_trace,
)
from stream.errors import SourceError
from stream.timeline.packets import Modality
from stream.timeline.time import NS_PER_SECOND

LENGTH_NS = 30 * NS_PER_SECOND
HEAD = '{"trace": 1, "seed": 7, "window_ns": 2000000000, "streams": {"video": {"period_ns": 33333333}, "words": {}}}'
PACKET = {"stream": "video", "seq": 0, "start_ns": 0, "end_ns": 5, "device_ns": 9, "arrival_ns": 7}


def written(path: Path, *lines: object) -> Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def test_a_trace_is_read_as_documented(tmp_path: Path) -> None:
    end = {"stream": "video", "end": True, "arrival_ns": 8}
    trace = read_trace(written(tmp_path / "trace.jsonl", HEAD, PACKET, end))
    streams = {"video": StreamHeader(period_ns=33_333_333), "words": StreamHeader()}
    assert trace.header == Header(seed=7, window_ns=2 * NS_PER_SECOND, streams=streams)
    packet = TracePacket(stream="video", seq=0, start_ns=0, end_ns=5, device_ns=9, arrival_ns=7)
    assert trace.events == [packet, TraceEnd(stream="video", arrival_ns=8)]
    assert packet.length_ns == 5


def test_an_end_may_be_written_behind_what_others_sent_later(tmp_path: Path) -> None:
    end = {"stream": "words", "end": True, "arrival_ns": 3}
    assert read_trace(written(tmp_path / "t", HEAD, PACKET, end)).events[1] == TraceEnd(stream="words", arrival_ns=7)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    trace = simulated_trace(DISTURBANCES["all_with_sound"], LENGTH_NS, 3)
    write_trace(trace, tmp_path / "trace.jsonl")
    assert read_trace(tmp_path / "trace.jsonl") == trace


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "found nothing"),
        ([HEAD], "found no packet"),
        (['{"trace": 2, "window_ns": 1, "streams": {"video": {}}}'], "line 1: found format 2"),
        (['{"window_ns": 0, "streams": {"video": {}}}'], "positive window_ns"),
        (["not json"], "line 1: found JSON"),
        ([HEAD, {"stream": "sound", "arrival_ns": 0}], "line 2: found stream 'sound', expected one of video, words"),
        ([HEAD, {"stream": "video", "arrival_ns": "0"}], "line 2: found Expected `int`"),
        ([HEAD, {"stream": "video", "seq": 1, "arrival_ns": 0}], "line 2: found a packet without all its fields"),
        ([HEAD, {**PACKET, "end_ns": -1}], "line 2: found end_ns -1"),
        ([HEAD, PACKET, PACKET], "line 3: found packet 0 of 'video' again"),
        ([HEAD, PACKET, {**PACKET, "seq": 1, "arrival_ns": 6}], "line 3: found arrival 6 ns, expected 7 ns or later; sort it"),
    ],
)
def test_what_is_no_trace_is_told_with_its_line(tmp_path: Path, lines: list[Any], message: str) -> None:
    with pytest.raises(SourceError) as caught:
        read_trace(written(tmp_path / "trace.jsonl", *lines))
    assert message in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        read_trace(tmp_path / "none")
    with pytest.raises(SourceError, match="name another one"):
        write_trace(simulated_trace(DISTURBANCES["drift"], 0, 0), tmp_path / "none" / "trace")


def test_streams_of_any_name_are_told_apart() -> None:
    header = Header(
        window_ns=1,
        streams={"camera_2": StreamHeader(period_ns=1), "mic": StreamHeader(period_ns=1), "captions": StreamHeader()},
    )
    declared = [(s.name, s.modality, s.device) for s in live_streams(header)]
    assert declared == [
        ("camera_2", Modality.VIDEO, "camera_2"),
        ("mic", Modality.AUDIO, "mic"),
        ("captions", Modality.TEXT, None),
    ]


# What is simulated


@pytest.mark.parametrize("name", DISTURBANCES)
def test_a_simulated_trace_is_a_function_of_its_seed_and_in_order_of_arrival(name: str) -> None:
    first, again, other = (simulated_trace(DISTURBANCES[name], LENGTH_NS, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert all(a.arrival_ns <= b.arrival_ns for a, b in pairwise(first.events))
    for packet in first.packets:
        if packet.stream != "words":
            assert packet.arrival_ns >= packet.end_ns


def test_the_disturbances_are_in_the_traces() -> None:
    disturbance = msgspec.structs.replace(DISTURBANCES["all_with_sound"], cycle_ns=LENGTH_NS)
    packets = [e for e in simulated_events(disturbance, LENGTH_NS, 1) if isinstance(e, TracePacket)]
    video, audio, words = ([p for p in packets if p.stream == name] for name in ("video", "audio", "words"))
    assert any(b.seq < a.seq for a, b in pairwise(audio))  # overtaken
    assert not [p for p in video if 10 <= p.start_ns / NS_PER_SECOND < 15]
    assert all(p.arrival_ns == max(0, p.start_ns - 10 * NS_PER_SECOND) for p in words)
    for stream in (video, audio):
        offsets = {round((p.device_ns - p.start_ns) / NS_PER_SECOND) for p in stream}
        assert len(offsets) == 2
    late = [p for p in simulated_events(DISTURBANCES["all"], LENGTH_NS, 1) if isinstance(p, TracePacket)]
    assert {p.stream for p in late} == {"video", "words"}
    assert all(p.arrival_ns - p.end_ns >= 2 * NS_PER_SECOND for p in late if p.stream == "words")
