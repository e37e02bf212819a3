from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
from av.stream import Disposition
from media_making import Pictures, Sound, every, sine, write

from stream.errors import SourceError
from stream.sources.media import MediaSource
from stream.sources.settings import MediaSettings
from stream.timeline.packets import (
    AudioChunk,
    Bound,
    EpochStart,
    Item,
    Modality,
    Packet,
    StreamActive,
    StreamEnd,
    StreamIdle,
    VideoFrame,
)
from stream.timeline.time import NS_PER_MS, NS_PER_SAMPLE, NS_PER_SECOND


class Reading(NamedTuple):
    source: MediaSource
    items: list[Item]

    @property
    def frames(self) -> list[VideoFrame]:
        return [item for item in self.items if isinstance(item, VideoFrame)]

    @property
    def chunks(self) -> list[AudioChunk]:
        return [item for item in self.items if isinstance(item, AudioChunk)]

    @property
    def controls(self) -> list[Item]:
        return [item for item in self.items if not isinstance(item, Packet | Bound)]

    @property
    def frame_times_ms(self) -> list[float]:
        return [frame.start_ns / NS_PER_MS for frame in self.frames]

    @property
    def samples(self) -> np.ndarray:
        return np.concatenate([chunk.samples for chunk in self.chunks])


def read(path: Path | str, settings: MediaSettings | None = None) -> Reading:
    """Reads a source to its end, and checks what holds for every source."""
    source = MediaSource(str(path), settings=settings or MediaSettings())
    items: list[Item] = []
    try:
        while not source.ended:
            items += source.read()
        assert source.read() == []
    finally:
        source.close()
    bounds = {stream.name: -1 for stream in source.streams}
    epochs, counts, sequences, ended = 0, {}, {}, set()
    for item in items:
        match item:
            case Packet():
                assert item.stream not in ended
                assert item.epoch == epochs
                assert item.start_ns >= max(0, bounds[item.stream])
                assert item.sequence == sequences.get(item.stream, 0)
                sequences[item.stream] = item.sequence + 1
                bounds[item.stream] = item.start_ns
            case Bound():
                assert item.bound_ns >= bounds[item.stream]
                bounds[item.stream] = item.bound_ns
            case EpochStart():
                assert item.epoch == epochs + 1
                assert item.at_ns >= max(bounds.values())
                assert set(item.streams) == set(bounds)
                epochs, counts = item.epoch, {}
            case StreamEnd():
                assert item.at_ns >= bounds[item.stream]
                ended.add(item.stream)
        if isinstance(item, AudioChunk):
            assert item.samples.dtype == np.int16
            assert item.samples.ndim == 1
            count, origin_ns = counts.setdefault(item.stream, (0, item.start_ns))
            assert item.first_sample == count
            assert item.start_ns == origin_ns + count * NS_PER_SAMPLE
            assert item.end_ns == item.start_ns + len(item.samples) * NS_PER_SAMPLE
            assert not item.filled or not item.samples.any()
            counts[item.stream] = (count + len(item.samples), origin_ns)
        if isinstance(item, VideoFrame):
            assert item.end_ns == item.start_ns
    assert ended == set(bounds)
    return Reading(source, items)


def shade(frame: VideoFrame) -> int:
    return round(float(frame.image.rgb(32, 32).mean()))


def test_both_tracks_of_an_mp4(tmp_path: Path) -> None:
    tone = sine(2, 48_000, channels=2)
    path = write(
        tmp_path / "both.mp4",
        Pictures(every(40, 2000), codec="libx264"),
        Sound(tone, 48_000, "aac", layout="stereo", frame=1024),
    )
    reading = read(path)
    assert [(s.name, s.modality) for s in reading.source.streams] == [("video", Modality.VIDEO), ("audio", Modality.AUDIO)]
    assert reading.source.duration_ns == 2 * NS_PER_SECOND
    assert reading.frame_times_ms == every(40, 2000)
    assert abs(len(reading.samples) - 32_000) <= 1024  # the encoder pads its last frame
    assert reading.chunks[0].start_ns == 0
    assert np.abs(reading.samples[1000:-1000]).max() == pytest.approx(0.25 * 32768, rel=0.05)
    assert not reading.source.notices
    assert reading.source.dropped == {"video": 0, "audio": 0}
    assert reading.source.cut is None
    assert reading.controls == [
        StreamEnd(stream="video", at_ns=2 * NS_PER_SECOND),
        StreamEnd(stream="audio", at_ns=reading.chunks[-1].end_ns),
    ]


def test_streams_are_named_as_asked_and_bytes_are_those_of_the_last_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", Pictures(every(40, 400)), Sound(sine(0.4)))
    source = MediaSource(str(path), video="camera", audio="mic")
    total = 0
    while not source.ended:
        source.read()
        total += source.compressed_bytes
    source.close()
    assert [stream.name for stream in source.streams] == ["camera", "mic"]
    assert 0.4 * 16_000 * 2 < total < path.stat().st_size


def test_frames_of_a_variable_rate_keep_their_times(tmp_path: Path) -> None:
    times = [0, 40, 55, 300, 1000, 1900]
    assert read(write(tmp_path / "vfr.mkv", Pictures(times))).frame_times_ms == times


def test_pictures_are_scaled_and_converted_on_demand(tmp_path: Path) -> None:
    frames = read(write(tmp_path / "shades.mkv", Pictures([0, 40], shades=[50, 200], codec="ffv1"))).frames
    assert (frames[0].image.width, frames[0].image.height) == (64, 48)
    picture = frames[0].image.rgb(20, 10)
    assert picture.shape == (10, 20, 3)
    assert picture.dtype == np.uint8
    assert [shade(frame) for frame in frames] == pytest.approx([50, 200], abs=3)


def test_a_rotated_video_stands_upright(tmp_path: Path) -> None:
    frame = read(write(tmp_path / "phone.mp4", Pictures([0, 40], codec="libx264", rotation=90, white_right=True))).frames[0]
    assert (frame.image.width, frame.image.height) == (48, 64)
    picture = frame.image.rgb(24, 32)
    assert picture.shape == (32, 24, 3)
    assert picture[:12].mean() > 200  # turned counter-clockwise, what was right is on top
    assert picture[20:].mean() < 50


def test_a_track_that_starts_late_lies_where_it_is(tmp_path: Path) -> None:
    reading = read(write(tmp_path / "late.mkv", Pictures(every(40, 2000)), Sound(sine(1), start_ms=300)))
    assert reading.chunks[0].start_ns == 300 * NS_PER_MS
    assert reading.chunks[0].first_sample == 0
    assert reading.chunks[-1].end_ns == 1300 * NS_PER_MS
    assert reading.controls[-1] == StreamEnd(stream="audio", at_ns=1300 * NS_PER_MS)


def test_zero_is_the_containers_start(tmp_path: Path) -> None:
    """MPEG-TS begins at any time: the first thing in it is at zero, and tracks keep their distance."""
    path = write(
        tmp_path / "a.ts",
        Pictures(every(40, 9000, 8000), codec="libx264"),
        Sound(sine(0.8), codec="mp2", frame=1152, start_ms=8200),
    )
    reading = read(path)
    assert reading.frames[0].start_ns == 0
    assert reading.chunks[0].start_ns == pytest.approx(200 * NS_PER_MS, abs=40 * NS_PER_MS)


def test_what_lies_before_zero_is_trimmed(tmp_path: Path) -> None:
    path = write(
        tmp_path / "early.mp4", Pictures(every(40, 1000)), Sound(sine(1.5, 48_000), 48_000, "aac", frame=1024, start_ms=-500)
    )
    reading = read(path)
    assert reading.frame_times_ms == every(40, 1000)
    assert reading.chunks[0].start_ns == 0
    assert len(reading.samples) == pytest.approx(16_000, abs=1024)


def test_a_missing_track_is_told(tmp_path: Path) -> None:
    silent = read(write(tmp_path / "silent.mkv", Pictures(every(40, 400))))
    assert [stream.name for stream in silent.source.streams] == ["video"]
    assert silent.source.notices == ("no audio",)
    heard = read(write(tmp_path / "heard.wav", Sound(sine(1))))
    assert [stream.name for stream in heard.source.streams] == ["audio"]
    assert heard.source.notices == ("no video",)
    assert len(heard.samples) == 16_000


def test_frames_without_time_stamps_follow_at_the_usual_distance(tmp_path: Path) -> None:
    reading = read(write(tmp_path / "bare.h264", Pictures(every(40, 1000), codec="libx264")))
    assert reading.frame_times_ms == every(40, 1000)
    assert any("without a time stamp" in notice for notice in reading.source.notices)


def test_frames_may_change_their_size(tmp_path: Path) -> None:
    path = write(tmp_path / "sizes.mkv", Pictures(every(40, 800), codec="mjpeg", pix_fmt="yuvj420p", sizes={10: (128, 96)}))
    frames = read(path).frames
    assert [frame.image.width for frame in frames] == [64] * 10 + [128] * 10
    assert {frame.image.rgb(32, 24).shape for frame in frames} == {(24, 32, 3)}


def test_frames_of_one_pixel_are_dropped_and_told(tmp_path: Path) -> None:
    dots = Pictures(every(40, 1000), size=(1, 1), codec="ffv1", pix_fmt="bgr0")
    reading = read(write(tmp_path / "dots.mkv", dots, Sound(sine(1))))
    assert reading.frames == []
    assert reading.source.dropped["video"] == 25
    assert any("smaller than 16 pixels" in notice for notice in reading.source.notices)
    assert reading.source.cut is None
    with pytest.raises(SourceError, match="smaller than 16 pixels"):
        read(write(tmp_path / "only dots.mkv", dots))


def test_frames_beyond_the_frame_rate_are_dropped_and_counted(tmp_path: Path) -> None:
    reading = read(write(tmp_path / "fast.mkv", Pictures([0, 1, 2, 40, 80])))
    assert reading.frame_times_ms == [0, 40, 80]
    assert reading.source.dropped == {"video": 2}
    assert any("beyond 250 a second" in notice for notice in reading.source.notices)


def test_attached_pictures_are_no_video(tmp_path: Path) -> None:
    cover = Pictures([0], codec="mjpeg", pix_fmt="yuvj420p", disposition=Disposition.attached_pic)
    reading = read(write(tmp_path / "song.mp4", cover, Sound(sine(1, 48_000), 48_000, "aac", frame=1024)))
    assert [stream.name for stream in reading.source.streams] == ["audio"]
    assert "no video" in reading.source.notices


def test_one_of_several_tracks_is_read_and_told(tmp_path: Path) -> None:
    times = every(40, 400)
    path = write(tmp_path / "two.mkv", Pictures(times, shades=[30] * 10), Pictures(times, shades=[220] * 10), Sound(sine(0.4)))
    reading = read(path)
    assert len(reading.frames) == 10
    assert [notice for notice in reading.source.notices if notice.startswith("2 video tracks: track")]


def test_frames_before_zero_are_trimmed_also_where_they_have_no_time_stamps(tmp_path: Path) -> None:
    pictures = Pictures(every(40, 1000, -1000), codec="libx264")
    path = write(tmp_path / "a.mkv", pictures, Sound(sine(2), start_ms=-1000), options={"avoid_negative_ts": "disabled"})
    with av.open(str(path)) as container:  # what has to be decoded before it is shown has lost its stamps
        assert sum(packet.pts is None for packet in container.demux(video=0)) > 20
    reading = read(path)
    assert reading.frame_times_ms == every(40, 1000)
    assert "video: starts 1.00 s before zero: trimmed" in reading.source.notices
    assert len(reading.samples) == 16_000


def test_a_track_far_behind_the_reading_becomes_idle_and_active_again(tmp_path: Path) -> None:
    path = write(tmp_path / "pause.mkv", Pictures(every(40, 1000) + every(40, 9000, 8000)), Sound(sine(9)))
    reading = read(path)
    idle, active = reading.controls[:2]
    assert idle == StreamIdle(stream="video", at_ns=6_050 * NS_PER_MS)  # the first sound that ends 5 s after frame 0.96
    assert isinstance(active, StreamActive)
    assert active.at_ns < reading.frames[25].start_ns + NS_PER_SECOND
    position = reading.items.index(active)
    assert next(item for item in reading.items[position:] if isinstance(item, VideoFrame)) is reading.frames[25]
    assert len(reading.controls) == 4


def test_gaps_are_filled_and_overlaps_dropped_by_count(tmp_path: Path) -> None:
    reading = read(write(tmp_path / "gaps.mkv", Sound(sine(2), shifts_ms={10: 200, 30: -150})))
    filled = [chunk for chunk in reading.chunks if chunk.filled]
    assert [(chunk.start_ns, chunk.end_ns) for chunk in filled] == [(500 * NS_PER_MS, 700 * NS_PER_MS)]
    assert len(reading.samples) == 32_000 + 3_200 - 2_400
    assert any("0.200 s of gaps" in notice for notice in reading.source.notices)
    assert any("0.150 s of overlap" in notice for notice in reading.source.notices)


def test_time_stamps_within_the_tolerance_change_no_sample(tmp_path: Path) -> None:
    shaken = {k: (20 if k % 2 else -20) for k in range(1, 40)}
    steady = read(write(tmp_path / "steady.mkv", Sound(sine(2))))
    assert np.array_equal(read(write(tmp_path / "shaken.mkv", Sound(sine(2), shifts_ms=shaken))).samples, steady.samples)


def test_samples_that_are_no_numbers_are_masked_and_counted(tmp_path: Path) -> None:
    samples = sine(1)
    samples[0, 4000:4400] = np.nan
    samples[0, 12_000] = np.inf
    reading = read(write(tmp_path / "broken.wav", Sound(samples, codec="pcm_f32le")))
    assert len(reading.samples) == 16_000
    masked = np.concatenate([np.full(len(chunk.samples), chunk.filled) for chunk in reading.chunks])
    assert np.flatnonzero(masked).tolist() == [*range(4000, 4400), 12_000]
    clean = (sine(1)[0] * 32768).astype(int)
    assert np.abs(reading.samples[~masked] - clean[~masked]).max() <= 1
    assert any("401 samples" in notice for notice in reading.source.notices)


@pytest.mark.parametrize(
    ("channels", "layout"), [(1, "mono"), (2, "stereo"), (3, "3 channels"), (6, "5.1"), (7, "7 channels"), (12, "12 channels")]
)
@pytest.mark.parametrize(("codec", "rate"), [("pcm_s16le", 44_100), ("pcm_f64le", 96_000), ("pcm_u8", 8_000)])
def test_any_channels_rate_and_format_become_16_khz_mono(
    tmp_path: Path, channels: int, layout: str, codec: str, rate: int
) -> None:
    tone = sine(0.5, rate, hertz=200, channels=channels)
    reading = read(write(tmp_path / "a.mkv", Sound(tone, rate, codec, layout=layout)))
    assert abs(len(reading.samples) - 8_000) <= 1
    expected = sine(0.5, hertz=200)[0] * 32768
    middle = slice(500, 7500)
    assert np.corrcoef(reading.samples[middle], expected[middle])[0, 1] > 0.99


def test_how_samples_are_cut_into_packets_changes_none(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 66_150)).astype(np.float32)
    cuts = [
        read(write(tmp_path / f"{frame}.mkv", Sound(noise, 44_100, layout="stereo", frame=frame))).samples
        for frame in (441, 1000, 8192)
    ]
    assert len(cuts[0]) == 24_000
    assert all(np.array_equal(cut, cuts[0]) for cut in cuts)


def test_a_jump_forward_is_a_new_epoch_that_keeps_its_length(tmp_path: Path) -> None:
    path = write(
        tmp_path / "jump.mkv", Pictures(every(40, 1000) + every(40, 102_000, 101_000)), Sound(sine(2), shifts_ms={20: 100_000})
    )
    reading = read(path)
    assert reading.controls[0] == EpochStart(streams=("video", "audio"), epoch=1, at_ns=101 * NS_PER_SECOND)
    assert reading.frame_times_ms[25:] == every(40, 102_000, 101_000)
    second = [chunk for chunk in reading.chunks if chunk.epoch == 1]
    assert second[0].first_sample == 0
    assert second[0].start_ns == 101 * NS_PER_SECOND
    assert sum(len(chunk.samples) for chunk in second) == 16_000


def test_pictures_that_stay_for_minutes_are_all_read(tmp_path: Path) -> None:
    """They are new epochs to the timeline, and build on each other to the decoder."""
    slides = Pictures([0, 60_000, 120_000, 180_000], codec="libx264", options={"tune": "zerolatency"})
    reading = read(write(tmp_path / "slides.mp4", slides))
    assert reading.frame_times_ms == [0, 60_000, 120_000, 180_000]
    assert reading.source.cut is None


def _transport_stream(path: Path, start_ms: int) -> Path:
    return write(
        path,
        Pictures(every(40, start_ms + 2000, start_ms), codec="libx264"),
        Sound(sine(2, 48_000), 48_000, "aac", frame=1024, start_ms=start_ms),
    )


@pytest.mark.parametrize("starts_ms", [(0, 0), (100_000, 0), (0, 100_000)], ids=["same clock", "back", "forward"])
def test_a_clock_that_is_set_anew_is_a_new_epoch_that_goes_on(tmp_path: Path, starts_ms: tuple[int, int]) -> None:
    parts = [_transport_stream(tmp_path / f"{i}.ts", start_ms).read_bytes() for i, start_ms in enumerate(starts_ms)]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(parts))
    reading = read(path)
    epoch = reading.controls[0]
    assert isinstance(epoch, EpochStart)
    assert epoch.at_ns == pytest.approx(2 * NS_PER_SECOND, abs=NS_PER_SECOND // 10)
    assert len(reading.frames) == 100
    assert [frame.epoch for frame in reading.frames] == [0] * 50 + [1] * 50
    assert reading.frames[-1].start_ns == pytest.approx(4 * NS_PER_SECOND, abs=NS_PER_SECOND // 5)
    assert len(reading.samples) == pytest.approx(64_000, abs=2_048)
    assert reading.source.cut is None


def test_time_stamps_that_go_back_a_little_are_disorder_and_no_epoch(tmp_path: Path) -> None:
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(_transport_stream(tmp_path / f"{ms}.ts", ms).read_bytes() for ms in (1000, 2500)))
    reading = read(path)
    assert [type(control) for control in reading.controls] == [StreamEnd, StreamEnd]
    times = reading.frame_times_ms
    assert times == sorted(times)
    assert reading.source.dropped["video"] + len(times) == 100
    assert times[-1] == pytest.approx(3_460, abs=30)
    assert any("out of order" in notice for notice in reading.source.notices)
    assert any("of overlap" in notice for notice in reading.source.notices)
    assert len(reading.samples) == pytest.approx(3.5 * 16_000, abs=1_500)


def test_a_cut_file_gives_what_is_there_and_says_what_is_missing(tmp_path: Path) -> None:
    whole = write(
        tmp_path / "whole.mp4",
        Pictures(every(40, 4000), codec="libx264"),
        Sound(sine(4, 48_000), 48_000, "aac", frame=1024),
        options={"movflags": "faststart"},
    )
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    reading = read(cut)
    assert 10 < len(reading.frames) < 100
    assert reading.source.cut is not None
    assert "declares 4.0" in reading.source.cut
    matroska = write(tmp_path / "whole.mkv", Pictures(every(40, 4000)), Sound(sine(4)))
    (tmp_path / "cut.mkv").write_bytes(matroska.read_bytes()[: matroska.stat().st_size // 2])
    half = read(tmp_path / "cut.mkv")
    assert 10 < len(half.frames) < 90
    assert half.source.cut is not None
    for name in ("whole.wav", "whole.avi"):
        pictures = (Pictures(every(40, 4000)),) if name.endswith("avi") else ()
        riff = write(tmp_path / name, *pictures, Sound(sine(4, 48_000), 48_000))
        assert read(riff).source.cut is None
        riff.write_bytes(riff.read_bytes()[: riff.stat().st_size // 2])
        assert "bytes and holds" in (read(riff).source.cut or "")
    mp3 = write(tmp_path / "whole.mp3", Sound(sine(4, 44_100), 44_100, codec="libmp3lame"))
    assert read(mp3).source.cut is None
    mp3.write_bytes(mp3.read_bytes()[: mp3.stat().st_size // 2])
    assert "bytes and holds" in (read(mp3).source.cut or "")
    # A stream without an index declares nothing that it does not hold.
    stream = _transport_stream(tmp_path / "whole.ts", 0)
    (tmp_path / "cut.ts").write_bytes(stream.read_bytes()[: stream.stat().st_size // 2])
    assert read(tmp_path / "cut.ts").source.cut is None


def test_damaged_packets_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "damaged.mkv", Pictures(every(40, 2000), codec="ffv1"), Sound(sine(2)))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path.write_bytes(bytes(data))
    reading = read(path)
    assert len(reading.frames) > 20


def test_an_index_at_the_end_can_not_be_read_from_a_pipe(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mov", Sound(sine(20), frame=8000))
    program = (
        "from stream.errors import SourceError\n"
        "from stream.sources.media import MediaSource\n"
        "try: MediaSource('-').read()\n"
        "except SourceError as error: print(error)"
    )
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as pipe:
        finished = subprocess.run(
            [sys.executable, "-c", program], stdin=pipe.stdout, capture_output=True, text=True, check=True, cwd=_ROOT
        )
    assert "found data that is no media, expected video or audio" in finished.stdout
    assert "give a file instead of a pipe" in finished.stdout


def test_standard_input_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", Pictures(every(40, 400)), Sound(sine(0.4)))
    program = (
        "from stream.sources.media import MediaSource\n"
        "s = MediaSource('-'); n = 0\n"
        "while not s.ended: n += len(s.read())\n"
        "print(s.position_ns, s.cut)"
    )
    with path.open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", program], stdin=file, capture_output=True, text=True, check=True, cwd=_ROOT
        )
    assert done.stdout.split() == ["400000000", "None"]
    assert done.stderr == ""


_ROOT = Path(__file__).resolve().parents[3]


def test_a_closed_source_says_so_and_may_be_closed_twice(tmp_path: Path) -> None:
    source = MediaSource(str(write(tmp_path / "a.wav", Sound(sine(0.1)))))
    source.close()
    source.close()
    with pytest.raises(SourceError, match="closed source"):
        source.read()


def test_opening_and_closing_does_not_grow_memory(tmp_path: Path) -> None:
    path = str(
        write(
            tmp_path / "a.mp4", Pictures(every(40, 400), codec="libx264"), Sound(sine(0.4, 48_000), 48_000, "aac", frame=1024)
        )
    )

    def open_and_read(times: int) -> int:
        for _ in range(times):
            source = MediaSource(path)
            source.read()
            source.close()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096

    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc to read the memory from")
    before = open_and_read(50)
    assert open_and_read(200) - before < 2_000_000  # bytes: 10 kB for each would show as leak


@pytest.mark.parametrize(
    ("name", "frames", "seconds"), [("obama_speech.mp4", 105, 8.7), ("nasa_13013.mp4", 390, 13.0), ("bbaf2n.mpg", 75, 2.98)]
)
def test_real_clips(shared_data: Path, name: str, frames: int, seconds: float) -> None:
    reading = read(shared_data / "clips" / name)
    assert len(reading.frames) == frames
    assert len(reading.samples) / 16_000 == pytest.approx(seconds, abs=0.1)
    assert reading.frames[0].start_ns == reading.chunks[0].start_ns == 0
    assert reading.source.cut is None
    assert reading.source.dropped == {"video": 0, "audio": 0}
    assert reading.frames[frames // 2].image.rgb(64, 48).std() > 10


def test_a_source_closed_from_another_thread_while_it_is_read_ends_cleanly(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", Pictures(every(40, 4000)), Sound(sine(4)))
    for _ in range(20):
        source = MediaSource(str(path))
        source.read()
        closing = threading.Thread(target=source.close)
        closing.start()
        with contextlib.suppress(SourceError):  # as soon as it is closed
            while not source.ended:
                source.read()
        closing.join()
        if not source.ended:
            with pytest.raises(SourceError, match="closed source"):
                source.read()


def test_the_end_of_the_sound_settles_how_long_the_last_picture_stays(tmp_path: Path) -> None:
    path = write(tmp_path / "ends.mkv", Pictures(every(100, 1000)), Sound(sine(0.92)))
    assert read(path).controls == [
        StreamEnd(stream="video", at_ns=920 * NS_PER_MS),
        StreamEnd(stream="audio", at_ns=920 * NS_PER_MS),
    ]
