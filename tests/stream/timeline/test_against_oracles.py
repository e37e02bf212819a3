"""The aligner against the oracles: any packets, arrivals and policies, everything that it gives, call by call."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle_dispositions import disposition, is_late
from oracle_states import Expected, Published
from oracle_streams import Declared
from scene import chunk, frame, ns
from trace_strategies import Scenario, scenarios

from stream.timeline.alignment import Aligner
from stream.timeline.dispositions import Ledger
from stream.timeline.packets import EpochStart, Item, Modality, Packet, StreamEnd, StreamIdle
from stream.timeline.segments import Late, Revision
from stream.timeline.settings import TimelineSettings, UtteranceSettings, WindowSettings
from stream.timeline.watermark import StreamDeclaration

seeded = settings(
    max_examples=150, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)


def aligner_of(scenario: Scenario, ledger: Ledger | None = None) -> Aligner:
    streams = [StreamDeclaration(name=s.name, modality=s.modality, source=s.source) for s in scenario.streams]
    return Aligner(streams, scenario.settings, ledger=ledger)


def published(revision: Revision) -> Published:
    """A revision as the oracle writes it."""
    assert revision.lane == "speech"
    slices = tuple((s.stream, s.state, s.absence, s.coverage, tuple(p.sequence for p in s.packets)) for s in revision.slices)
    return Published(
        revision.source_epoch,
        revision.kind,
        revision.start_ns,
        revision.end_ns,
        revision.continues,
        revision.number,
        revision.status,
        revision.reason,
        revision.decided_ns,
        slices,
    )


def late_of(packet: Packet, arrival_ns: int) -> Late:
    return Late(
        stream=packet.stream,
        epoch=packet.epoch,
        sequence=packet.sequence,
        start_ns=packet.start_ns,
        end_ns=packet.end_ns,
        arrival_ns=arrival_ns,
    )


def compare(scenario: Scenario, expected: Expected) -> None:
    """Push by push: revisions, late packets, the next deadline, dispositions."""
    decided: dict[tuple[str, int], str] = {}

    def observe(stream: str, _epoch: int, sequence: int, disposition: str, reason: str | None) -> None:
        assert (stream, sequence) not in decided, "decided twice"
        decided[stream, sequence] = reason or disposition

    aligner = aligner_of(scenario, Ledger(observe))
    revisions = expected.revisions()
    for i, (item, arrival_ns) in enumerate(scenario.trace):
        given_out = aligner.push(item, arrival_ns)
        due = [r for moment, r in revisions if moment[0] == i]
        assert [published(r) for r in given_out if isinstance(r, Revision)] == due, f"item {i}"
        late = [late_of(item, arrival_ns)] if isinstance(item, Packet) and is_late(expected, i) else []
        assert [o for o in given_out if isinstance(o, Late)] == late, f"item {i}"
        assert aligner.next_deadline_ns == expected.next_deadline(i), f"item {i}"
        if i % 7 == 0:
            assert decided == expected_dispositions(expected, i), f"item {i}"
            assert_dispositions_add_up(aligner, decided, expected, i)
    due = [r for moment, r in revisions if moment[0] >= len(scenario.trace)]
    assert [published(r) for r in aligner.close(scenario.close_ns)] == due
    assert aligner.next_deadline_ns is None
    assert decided == expected_dispositions(expected, len(expected.trace) - 1)
    assert_dispositions_add_up(aligner, decided, expected, len(expected.trace) - 1)


def expected_dispositions(expected: Expected, now: int) -> dict[tuple[str, int], str]:
    """What is decided after item `now`, by stream and sequence."""
    packets = [(i, item) for i, (item, _) in enumerate(expected.trace[: now + 1]) if isinstance(item, Packet)]
    found = {(packet.stream, packet.sequence): disposition(expected, i, now) for i, packet in packets}
    return {key: outcome for key, outcome in found.items() if outcome != "pending"}


def assert_dispositions_add_up(aligner: Aligner, decided: dict[tuple[str, int], str], expected: Expected, now: int) -> None:
    """The ledger's summary counts what its observer was told, and the five add up to what came in."""
    for stream, summary in aligner.ledger.summary().items():
        told = Counter(outcome for (name, _), outcome in decided.items() if name == stream)
        assert (summary.used, summary.late, summary.unclaimed) == (told["used"], told["late"], told["unclaimed"])
        assert summary.dropped.get("refused", 0) == told["refused"]
        came = [item for item, _ in expected.trace[: now + 1] if isinstance(item, Packet) and item.stream == stream]
        assert summary.received == len(came) == told.total() + summary.pending


def test_the_aligner_gives_what_the_oracles_give_and_the_examples_hold_everything() -> None:
    seen: Counter[str] = Counter()

    @settings(seeded, max_examples=400)
    @given(scenarios())
    def run(scenario: Scenario) -> None:
        expected = Expected(scenario.streams, scenario.settings, scenario.trace, scenario.close_ns)
        packets = [i for i, (item, _) in enumerate(expected.trace) if isinstance(item, Packet)]
        seen["example"] += 1
        seen[type(scenario.settings.segmentation).__name__] += 1
        seen["idle"] += any(isinstance(item, StreamIdle) for item, _ in scenario.trace)
        seen["late"] += any(is_late(expected, i) for i in packets)
        seen["amended"] += any(fate.amended for fate in expected.fates)
        seen["hole"] += any(segment.kind == "hole" for segment in expected.lane.closed)
        seen["utterance"] += any(segment.kind == "utterance" for segment in expected.lane.closed)
        compare(scenario, expected)

    run()
    kinds = ["UtteranceSettings", "WindowSettings", "LineSettings", "idle", "late", "amended", "hole", "utterance"]
    assert min(seen[kind] for kind in kinds) >= 0.05 * seen["example"], seen


def corner(names: list[str], settings: TimelineSettings, items: list[Item]) -> Scenario:
    """A trace that chance brings too seldom: one item every 10 ms."""
    streams = [Declared(n, Modality(n), "audio" if n == "activity" else None) for n in names]
    return Scenario(streams, settings, [(item, ns(10 * i)) for i, item in enumerate(items)], ns(10_000))


CORNERS = {
    "the end of the voice detector takes silence beyond the reference bound": corner(
        ["activity", "audio", "video"],
        TimelineSettings(segmentation=UtteranceSettings(pad_ns=0, silence_ns=ns(96)), cadence_ns=ns(64)),
        [chunk(0, 10), frame(0), StreamEnd(stream="activity", at_ns=ns(80))],
    ),
    "a chunk reaches beyond the end of all, and the lane goes on": corner(
        ["audio"],
        TimelineSettings(segmentation=WindowSettings(length_ns=ns(100), hop_ns=ns(100))),
        [
            *(chunk(0, 90), chunk(90, 130), StreamEnd(stream="audio", at_ns=ns(100))),
            *(EpochStart(streams=("audio",), epoch=1, at_ns=ns(80)), chunk(100, 250, epoch=1), chunk(250, 300, epoch=1)),
        ],
    ),
}


@pytest.mark.parametrize("name", CORNERS)
def test_corners(name: str) -> None:
    scenario = CORNERS[name]
    compare(scenario, Expected(scenario.streams, scenario.settings, scenario.trace, scenario.close_ns))


@seeded
@given(scenarios(), st.lists(st.tuples(st.integers(0, 200), st.floats(0, 1)), max_size=30))
def test_how_often_advance_is_called_changes_nothing(scenario: Scenario, calls: list[tuple[int, float]]) -> None:
    plain, called = aligner_of(scenario), aligner_of(scenario)
    gives, gives_called = [], []
    before = 0
    for i, (item, arrival_ns) in enumerate(scenario.trace):
        gives += plain.push(item, arrival_ns)
        for share in sorted(share for where, share in calls if where % len(scenario.trace) == i):
            gives_called += called.advance(before + round(share * (arrival_ns - before)))
        gives_called += called.push(item, arrival_ns)
        before = arrival_ns
    gives += plain.close(scenario.close_ns)
    gives_called += called.advance(scenario.close_ns)
    gives_called += called.close(scenario.close_ns)
    assert [published(o) if isinstance(o, Revision) else o for o in gives] == [
        published(o) if isinstance(o, Revision) else o for o in gives_called
    ]
    assert plain.ledger.summary() == called.ledger.summary()


@seeded
@given(scenarios())
def test_the_lane_tiles_and_every_segment_ends_once(scenario: Scenario) -> None:
    aligner = aligner_of(scenario)
    gives = [o for item, arrival_ns in scenario.trace for o in aligner.push(item, arrival_ns)]
    gives += aligner.close(scenario.close_ns)
    revisions = [o for o in gives if isinstance(o, Revision)]
    finals = sorted(r.span for r in revisions if r.status == "final")
    assert len({span.start_ns for span in finals}) == len(finals)
    assert all(span.length_ns > 0 for span in finals)
    if not isinstance(scenario.settings.segmentation, WindowSettings) and finals:
        assert finals[0].start_ns == 0
        assert all(before.end_ns == after.start_ns for before, after in pairwise(finals))
    final_spans = {r.span: r.number for r in revisions if r.status == "final"}
    amended = [r for r in revisions if r.status == "amended"]
    assert all(final_spans[r.span] == r.number - 1 for r in amended)
    assert len({r.span for r in amended}) == len(amended)
    for start_ns in {r.start_ns for r in revisions}:
        numbers = [r.number for r in revisions if r.start_ns == start_ns]
        assert numbers == sorted(set(numbers))
