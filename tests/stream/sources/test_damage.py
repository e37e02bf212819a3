from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import av
import numpy as np
import pytest
from media_making import Pictures, Sound, every, sine, write

from stream.errors import SourceError
from stream.sources.damage import Damage
from stream.sources.media import MediaSource
from stream.sources.resampling import Resampler
from stream.sources.settings import MediaSettings
from stream.timeline.packets import AudioChunk, EpochStart, Item, StreamActive, StreamIdle, VideoFrame
from stream.timeline.time import NS_PER_MS, NS_PER_SECOND

HOUR_MS = 3_600_000
VIDEO, AUDIO = 9, 8


def read(path: Path, settings: MediaSettings | None = None) -> tuple[MediaSource, list[Item]]:
    source = MediaSource(str(path), settings=settings or MediaSettings())
    items: list[Item] = []
    try:
        while not source.ended:
            items += source.read()
    finally:
        source.close()
    return source, items


def frame_times_ms(items: list[Item]) -> list[float]:
    return [item.start_ns / NS_PER_MS for item in items if isinstance(item, VideoFrame)]


def seconds_of_sound(items: list[Item]) -> float:
    return sum(len(item.samples) for item in items if isinstance(item, AudioChunk)) / 16_000


def damaged(path: Path, kind: str, numbers: range) -> Path:
    """Overwrites these packets of one kind with zeros."""
    with av.open(str(path)) as container:
        spans = [(p.pos, p.size) for p in container.demux() if p.size and p.stream.type == kind]
    data = bytearray(path.read_bytes())
    for position, size in spans[numbers.start : numbers.stop]:
        assert position is not None
        data[position : position + size] = bytes(size)
    path.write_bytes(data)
    return path


def stamped(path: Path, stamps_ms: Mapping[tuple[int, int], int]) -> Path:
    """An FLV of 4 s, whose packets (kind, number) have these time stamps instead of their own."""
    write(path, Pictures(every(40, 4000), codec="flv1"), Sound(sine(4, 44_100), 44_100, frame=2_205))
    data = bytearray(path.read_bytes())
    position, counts = 13, {VIDEO: 0, AUDIO: 0}
    while position < len(data):
        kind, size = data[position], int.from_bytes(data[position + 1 : position + 4], "big")
        if kind in counts:
            stamp = stamps_ms.get((kind, counts[kind]))
            counts[kind] += 1
            if stamp is not None:
                data[position + 4 : position + 7] = (stamp & 0xFFFFFF).to_bytes(3, "big")
                data[position + 7] = stamp >> 24
        position += 11 + size + 4
    assert counts == {VIDEO: 100, AUDIO: 80}
    path.write_bytes(data)
    return path


def test_packets_that_can_not_be_decoded_are_told_at_the_end(tmp_path: Path) -> None:
    tracks = Pictures(every(40, 2000), codec="libx264"), Sound(sine(2, 48_000), 48_000, "aac", frame=1024)
    source, _ = read(write(tmp_path / "whole.mp4", *tracks))
    assert source.cut is None
    source, items = read(damaged(write(tmp_path / "video.mp4", *tracks), "video", range(20, 23)))
    assert source.cut == f"source {tmp_path / 'video.mp4'}: 3 packets of video could not be decoded"
    assert len(frame_times_ms(items)) == 47
    assert source.dropped == {"video": 3, "audio": 0}
    source, _ = read(damaged(write(tmp_path / "audio.mp4", *tracks), "audio", range(20, 25)))
    assert source.cut is not None
    assert "5 packets of audio could not be decoded" in source.cut
    source, _ = read(damaged(write(tmp_path / "both.mp4", *tracks), "video", range(10, 100)))
    assert source.cut is not None
    assert "packets of video could not be decoded" in source.cut


def test_a_broadcast_may_begin_and_end_between_key_frames(tmp_path: Path) -> None:
    sound = Sound(sine(4, 48_000), 48_000, "aac", frame=1024)
    path = write(tmp_path / "a.ts", Pictures(every(40, 4000), codec="libx264", options={"g": "25"}), sound)
    data = path.read_bytes()
    whole = data[: 188 * 4]
    for number in range(6):
        first, last = 188 * (len(data) // 188 // 4) + number * 188, len(data) * 3 // 4 + number * 97
        path.write_bytes(whole + data[first:last])
        source, items = read(path)
        assert source.cut is None
        assert frame_times_ms(items)


def test_of_a_broadcast_joined_after_its_only_key_frame_the_sound_is_read(tmp_path: Path) -> None:
    sound = Sound(sine(4, 48_000), 48_000, "aac", frame=1024)
    once = {"x264-params": "keyint=1000:scenecut=0:bframes=0"}
    path = write(tmp_path / "a.ts", Pictures(every(40, 4000), codec="libx264", options=once), sound)
    data = path.read_bytes()
    path.write_bytes(data[188 * (len(data) // 188 // 2) :])
    source, items = read(path)
    assert not frame_times_ms(items)
    assert 1 < seconds_of_sound(items) < 3
    assert source.cut is not None
    assert "packets of video could not be decoded" in source.cut
    assert source.dropped["video"] > 25


def idle_and_back_ms(items: list[Item]) -> list[tuple[str, str, float]]:
    return [
        (type(item).__name__, item.stream, item.at_ns / NS_PER_MS)
        for item in items
        if isinstance(item, StreamIdle | StreamActive)
    ]


@pytest.mark.parametrize(("kind", "other"), [("video", "audio"), ("audio", "video")])
def test_a_track_that_gives_nothing_for_long_holds_the_other_no_more(tmp_path: Path, kind: str, other: str) -> None:
    pictures = Pictures(every(40, 24_000), codec="libx264", options={"g": "25", "bf": "0"})
    path = write(tmp_path / "a.mp4", pictures, Sound(sine(24, 48_000), 48_000, "aac", frame=960))
    count = {"video": 25, "audio": 47}[kind]  # packets a second
    source, items = read(damaged(path, kind, range(2 * count, 18 * count)))
    (idle, idle_of, idle_ms), (back, back_of, back_ms) = idle_and_back_ms(items)
    assert (idle, idle_of, back, back_of) == ("StreamIdle", kind, "StreamActive", kind)
    assert 7_000 <= idle_ms < 12_200
    assert 18_000 <= back_ms < 19_500
    assert source.cut is not None
    assert source.dropped[other] == 0


def test_frames_that_are_left_out_for_long_hold_nothing_back(tmp_path: Path) -> None:
    dots = Pictures(every(40, 12_000), size=(2, 2), codec="ffv1", pix_fmt="bgr0")
    source, items = read(write(tmp_path / "a.mkv", dots, Sound(sine(12))))
    assert source.dropped["video"] == 300
    ((idle, stream, at_ms),) = idle_and_back_ms(items)
    assert (idle, stream) == ("StreamIdle", "video")
    assert at_ms <= 10_100


def test_what_primes_a_decoder_is_no_damage() -> None:
    joined, file = Damage(joined=True), Damage(joined=False)
    for damage in (joined, file):
        damage.packet()
        damage.frame(damaged=True)
        damage.frame(damaged=False)
    assert joined.told("video") == []
    assert file.told("video") == ["1 packets of video could not be decoded", "1 frames of video were decoded only in part"]
    for damage in (joined, file):
        damage.packet()
        damage.frame(damaged=False)
        damage.packet()
        damage.start_epoch()
        damage.packet()
        damage.frame(damaged=False)
    assert joined.told("video") == ["1 packets of video could not be decoded"]
    assert file.told("video")[0] == "3 packets of video could not be decoded"


def test_a_track_that_never_gave_a_frame_is_damaged_in_any_format() -> None:
    damage = Damage(joined=True)
    damage.packet()
    assert damage.told("audio") == ["1 packets of audio could not be decoded"]
    damage.frame(damaged=False)
    damage.start_epoch()
    damage.packet()
    assert damage.told("audio") == ["2 packets of audio could not be decoded"]


def test_leaving_a_broadcast_between_packets_spoils_the_last_one_alone() -> None:
    left, lost = Damage(joined=True), Damage(joined=True)
    for damage in (left, lost):
        damage.frame(damaged=False)
        damage.packet()
    lost.packet()
    assert left.told("video") == []
    assert lost.told("video") == ["2 packets of video could not be decoded"]


def test_frames_that_grow_too_large_on_the_way_are_told(tmp_path: Path) -> None:
    sound = Sound(sine(4, 48_000), 48_000, "aac", frame=1024)
    path = write(tmp_path / "a.ts", Pictures(every(40, 4000), codec="libx264", sizes={60: (640, 480)}), sound)
    source, items = read(path)
    assert len(frame_times_ms(items)) == 100
    assert source.cut is None
    source, items = read(path, MediaSettings(max_pixels=100_000))
    assert len(frame_times_ms(items)) == 60
    assert source.cut == f"source {path}: 40 packets of video could not be decoded"


@pytest.mark.parametrize("number", [0, 50, 99])
@pytest.mark.parametrize("stamp_ms", [20_000, HOUR_MS, 200 * HOUR_MS])
def test_a_time_stamp_that_stands_alone_is_not_believed(tmp_path: Path, number: int, stamp_ms: int) -> None:
    source, items = read(stamped(tmp_path / "a.flv", {(VIDEO, number): stamp_ms}))
    assert frame_times_ms(items) == pytest.approx(every(40, 4000), abs=1)
    assert seconds_of_sound(items) == pytest.approx(4, abs=0.01)
    assert source.position_ns == pytest.approx(4 * NS_PER_SECOND, abs=NS_PER_SECOND // 10)
    assert "video: 1 time stamps far from those around them were not believed" in source.notices
    assert not any(isinstance(item, EpochStart) for item in items)
    assert source.cut is None


@pytest.mark.parametrize("stamp_ms", [0, 20_000, HOUR_MS])
def test_damaged_time_stamps_of_sound_change_no_sample(tmp_path: Path, stamp_ms: int) -> None:
    _, whole = read(stamped(tmp_path / "whole.flv", {}))
    source, items = read(stamped(tmp_path / "a.flv", {(AUDIO, 40): stamp_ms, (VIDEO, 70): stamp_ms}))
    both = ([item.samples for item in some if isinstance(item, AudioChunk)] for some in (whole, items))
    assert np.array_equal(*map(np.concatenate, both))
    assert frame_times_ms(items) == frame_times_ms(whole)
    assert source.position_ns < 5 * NS_PER_SECOND


def test_time_stamps_beyond_what_is_declared_stretch_nothing(tmp_path: Path) -> None:
    stamps = {(VIDEO, 50 + k): HOUR_MS + 40 * k for k in range(5)} | {(VIDEO, 70 + k): HOUR_MS * (k + 2) for k in range(3)}
    source, items = read(stamped(tmp_path / "a.flv", stamps))
    assert len(frame_times_ms(items)) == 100
    assert seconds_of_sound(items) > 3.5
    assert source.position_ns < 5 * NS_PER_SECOND


def test_a_track_that_stays_behind_a_jump_is_told_at_the_end(tmp_path: Path) -> None:
    source, items = read(stamped(tmp_path / "a.flv", {(VIDEO, k): HOUR_MS + 40 * k for k in range(50, 100)}))
    assert len(frame_times_ms(items)) == 100
    assert source.cut is not None
    assert "packets of audio are stamped by a clock that other tracks left" in source.cut


def test_names_that_are_no_utf8_keep_nothing_from_being_read(tmp_path: Path) -> None:
    path = tmp_path / "song.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "Beyonc#"
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
    path.write_bytes(path.read_bytes().replace(b"Beyonc#", b"Beyonc\xe9"))
    _, items = read(path)
    assert seconds_of_sound(items) == 1


def test_tracks_that_appear_on_the_way_end_nothing(tmp_path: Path) -> None:
    source = MediaSource(str(write(tmp_path / "a.mkv", Pictures(every(40, 1000)), Sound(sine(1)))))

    def broken(packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
        yield from packets
        raise IndexError("list index out of range")

    source._packets = broken(source._packets)
    items: list[Item] = []
    while not source.ended:
        items += source.read()
    source.close()
    assert len(frame_times_ms(items)) == 25
    assert source.cut is None


def test_a_frame_that_can_not_be_converted_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take, calls = Resampler.take, iter(range(100))

    def refusing(self: Resampler, frame: av.AudioFrame, at_ns: int | None) -> list[AudioChunk]:
        if next(calls) == 5:
            raise av.error.ArgumentError(22, "Invalid argument")
        return take(self, frame, at_ns)

    monkeypatch.setattr(Resampler, "take", refusing)
    path = write(tmp_path / "a.mkv", Sound(sine(1)))
    source, items = read(path)
    assert seconds_of_sound(items) == pytest.approx(1, abs=0.001)  # the gap is filled
    assert source.cut == f"source {path}: 1 packets of audio could not be decoded"


def test_a_file_in_which_nothing_can_be_decoded_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", Pictures(every(40, 1000), codec="libx264"))
    with pytest.raises(SourceError, match=r"25 packets were dropped|nothing to decode|size can't be read"):
        read(damaged(path, "video", range(25)))
