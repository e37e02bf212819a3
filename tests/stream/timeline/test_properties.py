"""What holds of any sequence of items: streams keep their own order, everything else is chance."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scene import ACTIVITY, AUDIO, VIDEO, WORDS, chunk, frame, lines, ns, step, utterances, windows, word

from stream.timeline.alignment import Aligner
from stream.timeline.packets import Bound, EpochStart, Item, StreamActive, StreamEnd, StreamIdle
from stream.timeline.segments import Late, Output, Revision
from stream.timeline.settings import SegmentationSettings, TimelineSettings

STREAMS = (VIDEO, AUDIO, ACTIVITY, WORDS)
TILING = [
    utterances(shortest=64, hang_over=96, longest=500, cut_search=200, pad=32, silence=300),
    lines((100, 350), (300, 800), (1500, 1900), silence=300),
]
POLICIES = [TILING[0], *TILING, windows(300), windows(300, hop=100), windows(100, hop=300)]

seeded = settings(max_examples=60, deadline=None, derandomize=True)
Trace = list[tuple[Item, int]]


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Items with arrivals in milliseconds: some stall, go idle, restart, end, or break their promises."""
    position = dict.fromkeys((s.name for s in STREAMS), 0)
    epoch_of = dict.fromkeys(position, 0)
    epochs = 0
    now = 0
    trace: Trace = []
    for _ in range(draw(st.integers(1, 90))):
        now += draw(st.sampled_from([0, 0, 10, 40, 200]))
        name = draw(st.sampled_from(["video", "audio", "activity", "activity", "activity", "words"]))
        at = position[name] + draw(st.sampled_from([0, 0, 0, 0, 20, 60, -20]))
        what = draw(st.sampled_from(["packet"] * 16 + ["bound"] * 4 + ["idle", "idle", "active", "epoch", "end"]))
        epoch = epoch_of[name]
        item: Any
        source = "audio" if name == "activity" else name
        if what == "packet":
            if name == "words":
                item, end = word(at, at + draw(st.integers(0, 200))), at
            elif name == "video":
                item, end = frame(at, epoch=epoch), at + 32
            elif name == "audio":
                item, end = chunk(at, at + 32, epoch=epoch), at + 32
            else:
                item, end = step(at, at + 32, draw(st.sampled_from([0.1, 0.9, 0.9])), epoch=epoch), at + 32
            position[name] = max(position[name], end)
        elif what == "bound":
            item, position[name] = Bound(stream=name, bound_ns=ns(at)), max(position[name], at)
        elif what in ("idle", "active"):
            item = (StreamIdle if what == "idle" else StreamActive)(stream=source, at_ns=ns(at))
        elif what == "epoch":
            epochs += 1
            at = max(position.values()) + draw(st.sampled_from([-100, 0, 150]))
            item = EpochStart(streams=(source,), epoch=epochs, at_ns=ns(at))
            for member in {source, "activity"} if source == "audio" else {source}:
                position[member], epoch_of[member] = max(position[member], at), epochs
        else:
            item = StreamEnd(stream=name, at_ns=ns(at))
        trace.append((item, ns(now)))
    return trace


def aligner_of(policy: SegmentationSettings) -> Aligner:
    return Aligner(
        STREAMS,
        TimelineSettings(segmentation=policy, cadence_ns=ns(90), text_lateness_ns=ns(150), amend_ns=ns(200), max_gap_ns=ns(50)),
    )


def plain(output: Output) -> Any:
    """Everything that a revision or a late packet says, arrays by identity of their packets."""
    if isinstance(output, Late):
        return output
    slices = [(s.stream, s.state, s.absence, s.coverage, [id(p) for p in s.packets]) for s in output.slices]
    return [getattr(output, field) for field in output.__struct_fields__ if field != "slices"] + slices


def run(aligner: Aligner, trace: Trace) -> list[Output]:
    outputs = [output for item, arrival_ns in trace for output in aligner.push(item, arrival_ns)]
    return outputs + aligner.close(trace[-1][1])


@seeded
@given(traces(), st.sampled_from(POLICIES), st.data())
def test_how_often_advance_is_called_changes_nothing(trace: Trace, policy: SegmentationSettings, data: st.DataObject) -> None:
    called = aligner_of(policy)
    outputs: list[Output] = []
    for (item, arrival_ns), (_, next_ns) in pairwise([*trace, trace[-1]]):
        outputs += called.push(item, arrival_ns)
        for now_ns in sorted(data.draw(st.lists(st.integers(arrival_ns, next_ns), max_size=2))):
            outputs += called.advance(now_ns)
        while (deadline_ns := called.next_deadline_ns) is not None and deadline_ns <= next_ns:
            outputs += called.advance(deadline_ns)
    outputs += called.close(trace[-1][1])
    assert list(map(plain, outputs)) == list(map(plain, run(aligner_of(policy), trace)))


@seeded
@given(traces(), st.sampled_from(POLICIES))
def test_dispositions_add_up_after_every_push_and_nothing_stays_pending(trace: Trace, policy: SegmentationSettings) -> None:
    aligner = aligner_of(policy)
    for item, arrival_ns in trace:
        aligner.push(item, arrival_ns)
        aligner.ledger.summary()
    aligner.close(trace[-1][1])
    assert all(counts.pending == 0 for counts in aligner.ledger.summary().values())
    assert aligner.next_deadline_ns is None


@seeded
@given(traces(), st.sampled_from(TILING))
def test_the_lane_tiles_without_overlap_or_hole(trace: Trace, policy: SegmentationSettings) -> None:
    finals = sorted(r.span for r in run(aligner_of(policy), trace) if isinstance(r, Revision) and r.status == "final")
    assert all(span.length_ns > 0 for span in finals)
    assert not finals or finals[0].start_ns == 0
    assert all(before.end_ns == after.start_ns for before, after in pairwise(finals))


@seeded
@given(traces(), st.sampled_from(POLICIES))
def test_bounds_never_go_back(trace: Trace, policy: SegmentationSettings) -> None:
    aligner = aligner_of(policy)
    before = [-(1 << 63)] * (len(STREAMS) + 2)
    for item, arrival_ns in trace:
        aligner.push(item, arrival_ns)
        marks = aligner._marks
        bounds = [s.bound_ns for s in marks.streams.values()] + [marks.reference_ns, aligner._lane.boundary_ns]
        assert all(new >= old for old, new in zip(before, bounds, strict=True))
        before = bounds


@seeded
@given(traces(), st.sampled_from(POLICIES))
def test_a_segment_keeps_its_identity_and_each_number_is_given_once(trace: Trace, policy: SegmentationSettings) -> None:
    history: dict[int, list[Revision]] = {}
    for output in run(aligner_of(policy), trace):
        if isinstance(output, Revision):
            history.setdefault(output.start_ns, []).append(output)
    for revisions in history.values():
        statuses = [r.status for r in revisions if r.status != "provisional"]
        assert statuses in (["final"], ["final", "amended"])
        assert len({(r.kind, r.source_epoch, r.lane, r.continues) for r in revisions}) == 1
        assert all(a.number < b.number for a, b in pairwise(revisions))
        ends = [r.end_ns for r in revisions]
        assert ends == sorted(ends), "no revision takes back what an earlier one held"
