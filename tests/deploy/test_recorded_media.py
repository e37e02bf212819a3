from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest

import deploy.recording
from deploy.reconnected_media import ReconnectedMedia
from deploy.recorded_media import media_head, packets_to, recorded_source
from deploy.report.media import playable
from stream.prediction import ModelIdentity
from stream.recording.messages import MessageMaker
from stream.recording.reader import Recording
from stream.recording.ring import Ring, RingSettings
from stream.recording.schemas import MEDIA, RECONNECTED, BatchPlan, Reconnected, RecordingEnd, RecordingHead
from stream.recording.writer import RecordingWriter
from stream.sources.media import MediaSource
from stream.sources.readable import ReadableSource
from stream.timeline.packets import EpochStart, Item, Packet, StreamEnd, VideoFrame, packets_equal

HEAD = RecordingHead(
    session="s",
    source="clip",
    streams=(),
    segmentation="utterances",
    timeline={},
    provisionals=True,
    batches=BatchPlan(speech=1, affect=1, device="cpu"),
    model=ModelIdentity(name="m", digest="d", licence="l"),
    transcriber="moonshine",
)


def film(path: Path, *, degrees: int = 0) -> Path:
    """A second of H.264 with pictures out of order, and of AAC with priming: 96 x 64, brighter to the right."""
    picture = np.repeat(np.linspace(0, 255, 96, dtype=np.uint8)[None], 64, 0)
    with av.open(str(path), "w") as output:
        video, audio = output.add_stream("libx264", rate=25), output.add_stream("aac", rate=16_000, layout="mono")
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        video.max_b_frames = 2
        if degrees:
            video.set_display_rotation(degrees)
        for number in range(25):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, number, 1), format="gray")
            frame.pts = number
            output.mux(video.encode(frame))
            samples = np.random.default_rng(number).normal(0, 0.1, (1, 640)).astype(np.float32)
            sound = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            sound.sample_rate, sound.pts = 16_000, number * 640
            output.mux(audio.encode(sound))
        output.mux([*video.encode(None), *audio.encode(None)])
    return path


def record(source: MediaSource, path: Path) -> list[Item]:
    maker, head = MessageMaker(), media_head(source)
    assert head is not None
    with RecordingWriter(path, HEAD) as writer:
        writer.media_head(head)
        source.tap = packets_to(source, lambda packet, at_ns: [writer.write(batch) for batch in maker.media(packet, at_ns)])
        given = list(items(source))
        for batch in maker.rest():
            writer.write(batch)
        writer.finish(RecordingEnd(complete=True, dispositions={}))
    return given


def items(source: ReadableSource) -> Iterator[Item]:
    while not source.ended:
        yield from source.read()
    source.close()


def same(left: Item, right: Item) -> bool:
    if not isinstance(left, VideoFrame) or not isinstance(right, VideoFrame):
        return packets_equal(left, right)
    return left.start_ns == right.start_ns and np.array_equal(left.image.grey(), right.image.grey())


@pytest.mark.parametrize("degrees", [0, 90, 180])
def test_recorded_media_decode_to_the_same_items(degrees: int, tmp_path: Path) -> None:
    given = record(MediaSource(str(film(tmp_path / "a.mp4", degrees=degrees))), tmp_path / "a.mcap")
    again = list(items(recorded_source(Recording(tmp_path / "a.mcap"))))
    assert len(given) == len(again) > 50
    assert all(map(same, given, again))


@pytest.fixture
def reconnected(tmp_path: Path) -> tuple[Path, list[list[Item]]]:
    """A recording of two connections, the second one three seconds into the session, and what each gave."""
    sources = [MediaSource(str(film(tmp_path / name))) for name in ("a.mp4", "b.mkv")]
    maker, heads, given = MessageMaker(), [media_head(source) for source in sources], []
    with RecordingWriter(tmp_path / "a.mcap", HEAD) as writer:
        assert heads[0] is not None
        assert heads[1] is not None
        writer.media_head(heads[0])
        for part, source in enumerate(sources):
            if part:
                for batch in maker.reconnected(Reconnected(part=1, at_ns=AGAIN_NS, head=heads[1])):
                    writer.write(batch)
            source.tap = packets_to(
                source, lambda packet, at_ns: [writer.write(batch) for batch in maker.media(packet, at_ns)], part=part
            )
            given.append(list(items(source)))
        for batch in maker.rest():
            writer.write(batch)
        writer.finish(RecordingEnd(complete=True, dispositions={}))
    return tmp_path / "a.mcap", given


AGAIN_NS = 3_000_000_000


def test_each_connection_of_a_live_source_is_decoded_as_a_source_epoch(reconnected: tuple[Path, list[list[Item]]]) -> None:
    path, (first, second) = reconnected
    media = ReconnectedMedia(Recording(path))
    again = list(items(media))
    assert media.ended
    start = again.index(EpochStart(streams=("video", "audio"), epoch=1, at_ns=AGAIN_NS))
    before = [item for item in first if not isinstance(item, StreamEnd)]
    assert len(before) > 50
    assert all(map(same, before, again[:start]))
    after = again[start + 1 :]
    assert len(after) == len(second)
    assert isinstance(after[-1], StreamEnd)
    packets = [(was, now) for was, now in zip(second, after, strict=True) if isinstance(was, Packet)]
    assert {now.epoch for _, now in packets if isinstance(now, Packet)} == {1}
    for was, now in packets:
        assert isinstance(now, Packet)
        shifted = msgspec.structs.replace(now, start_ns=now.start_ns - AGAIN_NS, end_ns=now.end_ns - AGAIN_NS, epoch=0)
        assert same(was, shifted)


def test_of_a_connection_that_a_ring_forgot_nothing_is_missed(
    reconnected: tuple[Path, list[list[Item]]], tmp_path: Path
) -> None:
    path, (_, second) = reconnected
    ring = Ring(HEAD, RingSettings(max_bytes=1))
    for message in Recording(path).messages(MEDIA, RECONNECTED):
        ring.write([message])
    ring.save(tmp_path / "kept.mcap")
    kept = Recording(tmp_path / "kept.mcap")
    assert {packet.part for packet in kept.media()} == {1}
    again = list(items(ReconnectedMedia(kept)))
    assert len(again) == len(second)


def test_what_a_ring_can_not_keep_is_told_in_what_is_saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(deploy.recording, "media_head", lambda source: None)
    source = MediaSource(str(film(tmp_path / "a.mp4")))
    ring, recorder = deploy.recording.keep_newest(HEAD, RingSettings(), media=source)
    recorder.close()
    source.close()
    ring.save(tmp_path / "a.mcap")
    recording = Recording(tmp_path / "a.mcap")
    assert list(recording.messages()) == []
    assert recording.end is not None
    assert recorder.notices
    assert set(recorder.notices) < set(recording.end.notices)


@pytest.mark.parametrize("degrees", [0, 90])
def test_what_a_browser_plays_is_upright(degrees: int, tmp_path: Path) -> None:
    given = record(MediaSource(str(film(tmp_path / "a.mp4", degrees=degrees))), tmp_path / "a.mcap")
    media = playable(Recording(tmp_path / "a.mcap"), tmp_path)
    assert media is not None
    played = items(MediaSource(str(media.path)))
    before, after = (next(i for i in each if isinstance(i, VideoFrame)) for each in (given, played))
    assert (before.image.width, before.image.height) == ((96, 64) if not degrees else (64, 96))
    assert np.array_equal(before.image.grey(), after.image.grey())
