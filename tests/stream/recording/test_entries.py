from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from item_strategies import ENTRIES, TIMES

from stream.errors import RecordingError
from stream.recording.entries import Arrived, NoPicture, Sounds, decode_entries, encode_entries
from stream.timeline.packets import AudioChunk, VideoFrame, packets_equal


def same(left: object, right: object) -> bool:
    if isinstance(left, VideoFrame):
        assert isinstance(right, VideoFrame)
        assert isinstance(right.image, NoPicture)
        return all(
            getattr(left, name) == getattr(right, name) for name in ("stream", "epoch", "sequence", "start_ns", "end_ns")
        )
    return packets_equal(left, right)


@given(st.lists(st.builds(Arrived, TIMES, ENTRIES), max_size=6))
def test_every_entry_comes_back_as_it_was(arrived: list[Arrived]) -> None:
    sounds = Sounds()
    for _, entry in arrived:
        if isinstance(entry, AudioChunk):
            sounds.add(entry.stream, entry.samples)
    back = decode_entries(encode_entries(arrived), sounds)
    assert [a.arrival_ns for a in back] == [a.arrival_ns for a in arrived]
    assert all(same(before.entry, after.entry) for before, after in zip(arrived, back, strict=True))


@given(st.lists(st.builds(Arrived, TIMES, ENTRIES), min_size=1, max_size=2), st.data())
def test_flipped_bytes_are_an_error_or_other_entries(arrived: list[Arrived], data: st.DataObject) -> None:
    encoded = bytearray(encode_entries(arrived))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(RecordingError):
        decode_entries(bytes(encoded), Sounds())


@given(st.binary(max_size=40))
def test_anything_else_is_refused_or_read(data: bytes) -> None:
    with contextlib.suppress(RecordingError):
        decode_entries(data, Sounds())
