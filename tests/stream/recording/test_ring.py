from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import SettingsError
from stream.recording.entries import Arrived
from stream.recording.messages import MessageMaker
from stream.recording.reader import Recording
from stream.recording.ring import DiskStore, MemoryStore, Ring, RingSettings
from stream.recording.schemas import DOOR, RecordedMessage, RecordingHead
from stream.timeline.alignment import Aligner
from stream.timeline.packets import AudioChunk, EpochStart, StreamIdle
from stream.timeline.segments import Revision

SECOND = 1_000_000_000


def ring_of(head: RecordingHead, arrived: list[Arrived], settings: RingSettings, folder: Path) -> Ring:
    ring, maker = Ring(head, settings, folder=folder), MessageMaker()
    for each in arrived:
        for batch in maker.entry(each):
            ring.write(batch)
    for batch in maker.rest():
        ring.write(batch)
    return ring


@pytest.mark.parametrize("store", ["memory", "disk"])
def test_the_newest_stretch_is_kept_and_replays_from_where_it_begins(
    store: str, head: RecordingHead, entries: list[Arrived], tmp_path: Path
) -> None:
    idle = Arrived(0, StreamIdle(stream="camera", at_ns=0))
    ring = ring_of(head, [idle, *entries], RingSettings(span_ns=3 * SECOND, store=store), tmp_path)
    assert ring.span_ns <= 3 * SECOND
    ring.save(tmp_path / "kept.mcap")
    recording = Recording(tmp_path / "kept.mcap")
    kept = list(recording.arrived())
    start = kept[0].entry
    assert isinstance(start, EpochStart)
    assert kept[1].entry == idle.entry
    sound = [a.entry for a in kept if isinstance(a.entry, AudioChunk)]
    assert start.at_ns == sound[0].start_ns
    assert 2 * SECOND < sound[-1].end_ns - sound[0].start_ns <= 4 * SECOND
    aligner = Aligner(head.streams)
    outputs = [o for a in kept if not isinstance(a.entry, StreamIdle) for o in push(aligner, a)]
    assert next((o.kind, o.start_ns, o.end_ns) for o in outputs if isinstance(o, Revision)) == ("hole", 0, start.at_ns)
    assert aligner.ledger.summary()["audio"].dropped == {}
    ring.close()
    assert [p.name for p in tmp_path.iterdir()] == ["kept.mcap"]


def push(aligner: Aligner, arrived: Arrived) -> list:
    from stream.recording.entries import Closed

    if isinstance(arrived.entry, Closed):
        return aligner.close(arrived.arrival_ns)
    return aligner.push(arrived.entry, arrived.arrival_ns)


def test_all_is_there_while_the_bounds_are_wide(head: RecordingHead, entries: list[Arrived], tmp_path: Path) -> None:
    ring = ring_of(head, entries, RingSettings(), tmp_path)
    ring.save(tmp_path / "kept.mcap")
    assert len(list(Recording(tmp_path / "kept.mcap").arrived())) == len(entries)


def test_bytes_are_bounded_whatever_the_time(head: RecordingHead, entries: list[Arrived], tmp_path: Path) -> None:
    ring = ring_of(head, entries, RingSettings(max_bytes=100_000), tmp_path)
    assert 0 < ring.size <= 100_000


def test_bounds_are_positive() -> None:
    with pytest.raises(SettingsError):
        RingSettings(span_ns=0)


@given(st.lists(st.integers(0, 40) | st.none(), max_size=60))
def test_the_disk_keeps_what_memory_keeps(steps: list[int | None]) -> None:
    """A number appends so many bytes; None takes the oldest."""
    memory, disk = MemoryStore(), DiskStore()
    disk.FILE_BYTES = 64  # type: ignore[misc]
    for number, size in enumerate(steps):
        if size is not None:
            memory.append(bytes([number]) * size)
            disk.append(bytes([number]) * size)
        elif memory.all():
            assert disk.pop() == memory.pop()
        assert disk.all() == memory.all()
    disk.close()


def test_door_messages_survive_the_ring(head: RecordingHead) -> None:
    ring = Ring(head)
    ring.write([RecordedMessage(DOOR, 1, b"\x90")])
    assert ring.size > 0
