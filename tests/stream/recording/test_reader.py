from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.data_stream import RecordBuilder
from mcap.records import Chunk
from mcap.writer import MCAP0_MAGIC

from stream.errors import RecordingError
from stream.recording.entries import Arrived
from stream.recording.reader import Recording
from stream.timeline.packets import packets_equal

SAME_FILE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


def test_what_was_written_is_read(write: Callable[..., Path], entries: list[Arrived], tmp_path: Path) -> None:
    recording = Recording(write(tmp_path / "a.mcap"))
    back = list(recording.arrived())
    assert [a.arrival_ns for a in back] == [a.arrival_ns for a in entries]
    assert all(packets_equal(before.entry, after.entry) for before, after in zip(entries, back, strict=True))
    assert len(list(recording.media())) == len(entries)
    assert recording.cut is None
    assert recording.end is not None
    assert recording.end.complete


def test_a_recording_that_was_not_finished_says_so(write: Callable[..., Path], entries: list[Arrived], tmp_path: Path) -> None:
    recording = Recording(write(tmp_path / "a.mcap", finish=False))
    read = list(recording.arrived())
    assert 0 < len(read) < len(entries)
    assert recording.cut is not None
    assert "cut" in recording.cut


@pytest.mark.parametrize("compressed", [True, False])
def test_a_bomb_is_refused_before_it_is_unpacked(compressed: bool, write: Callable[..., Path], tmp_path: Path) -> None:
    bomb = zstandard.compress(b"\0" * (80 << 20)) if compressed else b""
    builder = RecordBuilder()
    Chunk("zstd", bomb, 0, 0, 0, 80 << 20).write(builder)
    path = tmp_path / "bomb.mcap"
    path.write_bytes(MCAP0_MAGIC + builder.end())
    with pytest.raises(RecordingError, match="chunk of 83886080 bytes"):
        Recording(path)


def test_a_chunk_that_lies_about_its_size_is_damage(write: Callable[..., Path], tmp_path: Path) -> None:
    builder = RecordBuilder()
    Chunk("zstd", zstandard.compress(b"\0" * (80 << 20)), 0, 0, 0, 1000).write(builder)
    path = tmp_path / "bomb.mcap"
    path.write_bytes(MCAP0_MAGIC + builder.end())
    with pytest.raises(RecordingError, match="another size"):
        Recording(path)


def test_a_huge_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(MCAP0_MAGIC + struct.pack("<BQ", 6, 1 << 60) + b"x")
    with pytest.raises(RecordingError, match="a record of"):
        Recording(path)


@pytest.mark.parametrize("content", [b"", b"x" * 100, MCAP0_MAGIC])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(content)
    with pytest.raises(RecordingError):
        Recording(path)
    with pytest.raises(RecordingError, match="No such file"):
        Recording(tmp_path / "missing")


@SAME_FILE
@given(share=st.floats(0, 1))
def test_cut_at_any_byte_it_is_shorter_or_refused(
    share: float, write: Callable[..., Path], entries: list[Arrived], tmp_path: Path
) -> None:
    path = tmp_path / "whole.mcap"
    if not path.exists():
        write(path)
    size = int(share * (path.stat().st_size - 1))
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(path.read_bytes()[:size])
    try:
        recording = Recording(cut)
    except RecordingError:
        assert size < 2000  # the head was not there yet
        return
    read = list(recording.arrived())
    assert all(packets_equal(before.entry, after.entry) for before, after in zip(entries, read, strict=False))
    assert recording.cut is not None


@SAME_FILE
@given(place=st.floats(0, 1), flip=st.integers(1, 255))
def test_a_flipped_byte_is_an_error_or_a_shorter_reading(
    place: float, flip: int, write: Callable[..., Path], entries: list[Arrived], tmp_path: Path
) -> None:
    path = tmp_path / "whole.mcap"
    if not path.exists():
        write(path)
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= flip
    flipped = tmp_path / "flipped.mcap"
    flipped.write_bytes(content)
    with contextlib.suppress(RecordingError):
        recording = Recording(flipped)
        read = list(recording.arrived())
        assert all(packets_equal(before.entry, after.entry) for before, after in zip(entries, read, strict=False))
        assert len(read) == len(entries) or recording.cut is not None


def test_only_the_owner_may_read_it(write: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(b"of before")
    path.chmod(0o644)
    assert write(path).stat().st_mode & 0o777 == 0o600
    with pytest.raises(RecordingError, match="No such file"):
        write(tmp_path / "missing" / "a.mcap")
    assert os.listdir(tmp_path) == ["a.mcap"]
