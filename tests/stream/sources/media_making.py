"""Small media for tests, made with PyAV: pictures of one shade each, and sine tones, at times that the test chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

MS = Fraction(1, 1000)


@dataclass(frozen=True)
class Pictures:
    """A video track: one picture per time (ms), of shade `shades[i]` (0-255), by default 5 i modulo 250."""

    times_ms: Sequence[int]
    size: tuple[int, int] = (64, 48)
    codec: str = "mpeg4"
    pix_fmt: str = "yuv420p"
    shades: Sequence[int] = ()
    sizes: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """From this picture on, another size (for codecs whose packets stand alone)."""
    rotation: int = 0
    """Degrees counter-clockwise by which a player turns the pictures."""
    white_right: bool = False
    """The right half is white."""
    disposition: Disposition | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sound:
    """An audio track: `samples` (channels, n) in [-1, 1], cut into frames of `frame` samples.

    `start_ms` is the first frame's time; from the frame numbered `k` on, `shifts_ms[k]` more is added.
    """

    samples: np.ndarray
    rate: int = 16_000
    codec: str = "pcm_s16le"
    layout: str = "mono"
    frame: int = 800
    start_ms: int = 0
    shifts_ms: Mapping[int, int] = field(default_factory=dict)


def every(interval_ms: int, until_ms: int, start_ms: int = 0) -> list[int]:
    """Times at a constant distance."""
    return list(range(start_ms, until_ms, interval_ms))


def sine(seconds: float, rate: int = 16_000, *, hertz: float = 440.0, channels: int = 1, level: float = 0.25) -> np.ndarray:
    """A tone: float32 (channels, n)."""
    tone = level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.repeat(tone[None].astype(np.float32), channels, axis=0)


def write(
    path: Path, *tracks: Pictures | Sound, container: str | None = None, options: Mapping[str, str] | None = None
) -> Path:
    """A container with these tracks, interleaved by time."""
    with av.open(str(path), "w", format=container, options=dict(options or {})) as output:
        timed: list[tuple[Fraction, int, av.Packet]] = []
        for index, track in enumerate(tracks):
            packets = _pictures(output, track) if isinstance(track, Pictures) else _sound(output, track)
            timed += [((p.dts if p.dts is not None else p.pts) * p.time_base, index, p) for p in packets]
        for _, _, packet in sorted(timed, key=lambda entry: entry[:2]):
            output.mux(packet)
    return path


def _pictures(output: av.container.OutputContainer, track: Pictures) -> list[av.Packet]:
    stream = output.add_stream(track.codec, rate=25, options=dict(track.options))
    stream.width, stream.height = track.size
    stream.pix_fmt = track.pix_fmt
    stream.codec_context.time_base = MS
    stream.codec_context.thread_count = 1
    if track.rotation:
        stream.set_display_rotation(track.rotation)
    if track.disposition is not None:
        stream.disposition = track.disposition
    packets: list[av.Packet] = []
    encoder = stream.codec_context
    size = track.size
    for number, time_ms in enumerate(track.times_ms):
        if number in track.sizes:
            packets += encoder.encode(None)
            size = track.sizes[number]
            encoder = av.CodecContext.create(track.codec, "w")
            encoder.width, encoder.height = size
            encoder.pix_fmt, encoder.time_base = track.pix_fmt, MS
        shade = track.shades[number] if track.shades else number * 5 % 250
        picture = np.full((size[1], size[0], 3), shade, np.uint8)
        if track.white_right:
            picture[:, size[0] // 2 :] = 255
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = frame.reformat(format=track.pix_fmt)
        frame.pts, frame.time_base = time_ms, MS
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    for packet in packets:
        packet.stream = stream
        packet.time_base = MS
    return packets


def _sound(output: av.container.OutputContainer, track: Sound) -> list[av.Packet]:
    stream = output.add_stream(track.codec, rate=track.rate, layout=track.layout)
    channels = track.samples.shape[0]
    form = stream.codec_context.format or av.AudioFormat("s16")
    packets: list[av.Packet] = []
    shift_ms = track.start_ms
    for number, first in enumerate(range(0, track.samples.shape[1], track.frame)):
        shift_ms += track.shifts_ms.get(number, 0)
        part = np.ascontiguousarray(track.samples[:, first : first + track.frame].T.reshape(1, -1), dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(part, format="flt", layout=track.layout)
        assert frame.samples * channels == part.size
        frame.sample_rate = track.rate
        if form.name != "flt":
            frame = av.AudioResampler(format=form.name).resample(frame)[0]
        frame.pts = first + shift_ms * track.rate // 1000
        frame.time_base = Fraction(1, track.rate)
        packets += stream.encode(frame)
    return packets + stream.encode(None)
