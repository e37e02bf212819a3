"""Clips joined into one container, with silence between them: long, regular media for the measures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import msgspec
import numpy as np

from stream.errors import InputError
from stream.timeline.time import SAMPLE_RATE

WIDTH, HEIGHT, RATE = 320, 240, 25
"""Size and frames a second of the joined picture: the demo clip's size, the GRID clips' rate."""
SAMPLES_PER_FRAME = SAMPLE_RATE // RATE


class JoinedMedia(msgspec.Struct, frozen=True):
    """Where the clips came to lie: (start, end) seconds of each in the joined file, and its whole length."""

    clips: tuple[tuple[float, float], ...]
    seconds: float


def join_clips(clips: Sequence[Path], output: Path, *, silence_s: Sequence[float], seconds: float | None = None) -> JoinedMedia:
    """Writes the clips one after another to a Matroska file, each followed by its silence (used in turn), until `seconds`.

    Without `seconds` each clip comes once. A clip without a picture gets those of the first that has some, again and again (a
    black one where none has): people who speak are seen in this project's media. Video is MPEG-4, 320x240 at 25
    frames a second; audio is 16 kHz mono PCM, interleaved with it frame by frame. Raises `InputError` on
    an empty list and on a clip that can't be opened.
    """
    if not clips:
        raise InputError("clips to join", found="none", expected="at least one")
    spans: list[tuple[float, float]] = []
    pictures = next(filter(None, map(_pictures, clips)), None)
    with av.open(str(output), "w", format="matroska") as container:
        video = container.add_stream("mpeg4", rate=RATE, options={"qscale": "4"})
        video.width, video.height, video.pix_fmt, video.time_base = WIDTH, HEIGHT, "yuv420p", Fraction(1, RATE)
        audio = container.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        index = 0
        for turn in range(len(clips) if seconds is None else 1 << 30):
            if seconds is not None and index >= seconds * RATE:
                break
            started = index
            for picture, sound in _frames(clips[turn % len(clips)]):
                shown = pictures[index % len(pictures)] if picture is None and pictures else picture
                _write(container, video, audio, index, shown, sound)
                index += 1
            spans.append((started / RATE, index / RATE))
            for _ in range(round(silence_s[turn % len(silence_s)] * RATE)):
                _write(container, video, audio, index, None, None)
                index += 1
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return JoinedMedia(tuple(spans), index / RATE)


def _pictures(clip: Path) -> list[np.ndarray]:
    """The pictures of a clip at the joined file's rate; empty where it has none."""
    return [picture for picture, _ in _frames(clip) if picture is not None]


def _frames(clip: Path) -> Iterator[tuple[np.ndarray | None, np.ndarray | None]]:
    """Pairs of a picture uint8 (240, 320, 3) and its 40 ms of int16 sound, on the joined file's rate."""
    pictures: list[tuple[float, np.ndarray]] = []
    sounds: list[np.ndarray] = []
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    try:
        opened = av.open(str(clip))
    except (OSError, av.FFmpegError) as error:
        raise InputError(f"clip {clip}", found=str(error), expected="a media file") from error
    with opened as container:
        streams = [*container.streams.video[:1], *container.streams.audio[:1]]
        for frame in container.decode(streams):
            if isinstance(frame, av.VideoFrame):
                pictures.append((frame.time or 0.0, frame.to_ndarray(width=WIDTH, height=HEIGHT, format="rgb24")))
            elif isinstance(frame, av.AudioFrame):
                sounds += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    sound = np.concatenate(sounds) if sounds else np.zeros(0, np.int16)
    seconds = max(len(sound) / SAMPLE_RATE, pictures[-1][0] if pictures else 0.0)
    shown = 0
    for index in range(int(seconds * RATE)):
        while shown + 1 < len(pictures) and pictures[shown + 1][0] <= index / RATE:
            shown += 1
        piece = sound[index * SAMPLES_PER_FRAME : (index + 1) * SAMPLES_PER_FRAME]
        yield pictures[shown][1] if pictures else None, piece


def _write(
    container: av.container.OutputContainer,
    video: av.VideoStream,
    audio: av.AudioStream,
    index: int,
    picture: np.ndarray | None,
    sound: np.ndarray | None,
) -> None:
    """Muxes one picture and its 40 ms of sound; black and silent where there is none."""
    shown = av.VideoFrame.from_ndarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8) if picture is None else picture, format="rgb24")
    shown.pts, shown.time_base = index, Fraction(1, RATE)
    samples = np.zeros(SAMPLES_PER_FRAME, np.int16)
    if sound is not None:
        samples[: len(sound)] = sound
    heard = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    heard.sample_rate, heard.pts, heard.time_base = SAMPLE_RATE, index * SAMPLES_PER_FRAME, Fraction(1, SAMPLE_RATE)
    container.mux(video.encode(shown))
    container.mux(audio.encode(heard))
