"""The media of a recording as a browser plays them, on session time: repacked where that will do, else encoded anew."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final, NamedTuple

import av
import numpy as np
from av.container import OutputContainer

from deploy.recorded_media import as_packet, opened, recorded_source
from stream.errors import RecordingError
from stream.recording.reader import Recording
from stream.sources.media import MediaSource
from stream.timeline.packets import AudioChunk, EpochStart, Item, VideoFrame
from stream.timeline.time import NS_PER_MS, NS_PER_SAMPLE, SAMPLE_RATE

_REPACKED: Final = {"mp4": {"h264", "aac", "mp3"}, "webm": {"vp8", "vp9", "av1", "opus", "vorbis"}}
"""Codecs that every browser plays in these containers."""
_WIDEST: Final = 640
"""Pixels of a picture that is encoded anew."""


class PlayableMedia(NamedTuple):
    """A file for a browser, and its media type."""

    path: Path
    media_type: str


def playable(recording: Recording, folder: Path) -> PlayableMedia | None:
    """The recorded media as a file in `folder`; None where the recording holds none, or nothing that can be decoded.

    Raises `RecordingError` where they are damaged.
    """
    if recording.media_head is None:
        return None
    _, container = opened(recording.media_head)
    with container:
        codecs = {track.codec_context.name for track in container.streams}
    # After a jump of the container's clock its own time stamps are no session time any more.
    jumps = any(isinstance(arrived.entry, EpochStart) for arrived in recording.arrived())
    for form, known in _REPACKED.items():
        if codecs <= known and not jumps:
            path = folder / f"media.{form}"
            # A container is stricter than a decoder, for instance about the order of time stamps.
            with contextlib.suppress(av.FFmpegError):
                _repack(recording, form, path)
                return PlayableMedia(path, f"video/{form}")
    path = folder / "media.webm"
    return PlayableMedia(path, "video/webm") if _encode(recording, path) else None


def _repack(recording: Recording, form: str, path: Path) -> None:
    """The packets as they are, in another container."""
    assert recording.media_head is not None
    facts, container = opened(recording.media_head)
    tracks_facts = [track for track in (facts.video, facts.audio) if track is not None]
    zero_ns = max(0, facts.start_ns or 0)
    with container, av.open(str(path), "w", format=form) as output:
        tracks = [output.add_stream_from_template(track) for track in container.streams]
        if facts.video is not None and facts.video.quarter_turns:
            output.streams.video[0].set_display_rotation(facts.video.quarter_turns * 90)
        begun = [False] * len(tracks)
        for recorded in recording.media():
            if recorded.part or recorded.data is None or recorded.pts is None or recorded.dts is None:
                continue
            if recorded.track >= len(tracks):
                raise RecordingError("a recorded packet", found=f"track {recorded.track}", expected=f"below {len(tracks)}")
            own = tracks_facts[recorded.track]
            begun[recorded.track] |= recorded.key
            if not begun[recorded.track] or own.ns(recorded.pts) < zero_ns:
                continue
            packet = as_packet(recorded, tracks[recorded.track], own.time_base)
            ticks = zero_ns * own.denominator // (own.numerator * 1_000_000_000)
            packet.pts, packet.dts = recorded.pts - ticks, recorded.dts - ticks
            output.mux(packet)


def _encode(recording: Recording, path: Path) -> bool:
    """VP8 and Opus out of what the source gives on session time; False where it gives nothing."""
    anything = False
    with contextlib.closing(recorded_source(recording)) as source, av.open(str(path), "w", format="webm") as output:
        picture = sound = None
        for track in source.tracks:
            if isinstance(track, av.VideoStream):
                picture = _picture_track(output, track)
            else:
                sound = output.add_stream("libopus", rate=SAMPLE_RATE, layout="mono")
        for item in _items(source):
            anything = True
            if isinstance(item, VideoFrame) and picture is not None:
                image = av.VideoFrame.from_ndarray(item.image.rgb(picture.width, picture.height), format="rgb24")
                image.pts, image.time_base = item.start_ns // NS_PER_MS, picture.codec_context.time_base
                output.mux(picture.encode(image))
            elif isinstance(item, AudioChunk) and sound is not None:
                chunk = av.AudioFrame.from_ndarray(np.ascontiguousarray(item.samples)[None], format="s16", layout="mono")
                chunk.sample_rate, chunk.time_base = SAMPLE_RATE, Fraction(1, SAMPLE_RATE)
                chunk.pts = item.start_ns // NS_PER_SAMPLE
                output.mux(sound.encode(chunk))
        if picture is not None:
            output.mux(picture.encode(None))
        if sound is not None:
            output.mux(sound.encode(None))
    return anything


def _picture_track(output: OutputContainer, source: av.VideoStream) -> av.VideoStream:
    width = min(_WIDEST, source.width) // 2 * 2
    track = output.add_stream("libvpx", rate=30, options={"deadline": "realtime", "cpu-used": "8", "crf": "20"})
    track.width, track.height = width, max(2, round(source.height * width / source.width) // 2 * 2)
    track.pix_fmt, track.bit_rate = "yuv420p", 600_000
    track.codec_context.time_base = Fraction(1, 1000)
    return track


def _items(source: MediaSource) -> Iterator[Item]:
    while not source.ended:
        yield from source.read()
