"""`affectstream doctor --clap`: by how much the picture of a recording lags behind its sound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from stream.errors import SourceError
from stream.sources.media import MediaSource
from stream.timeline.clap import ClapLag, measure_clap, motion_energy
from stream.timeline.packets import AudioChunk, EpochStart, Item, VideoFrame
from stream.timeline.time import NS_PER_MS, NS_PER_SAMPLE, NS_PER_SECOND

LONGEST_NS: Final = 60 * NS_PER_SECOND
"""Of a recording that is looked at: claps are the first thing in it."""
_WIDTH, _HEIGHT = 160, 120


def clap_lag(path: str) -> ClapLag:
    """The lag of a file's picture behind its sound; raises `SourceError`, or `InputError` where no clap is in it."""
    sound: list[AudioChunk] = []
    picture_ns: list[int] = []
    motion: list[float] = []
    before: np.ndarray | None = None
    for item in _items(path):
        if isinstance(item, AudioChunk) and not item.filled:
            sound.append(item)
        elif isinstance(item, VideoFrame):
            picture = item.image.rgb(_WIDTH, _HEIGHT)[:, :, 1]
            motion.append(0.0 if before is None else motion_energy(before, picture))
            picture_ns.append(item.start_ns)
            before = picture
    if not sound or not picture_ns:
        raise SourceError(
            "recording of a clap",
            found=f"{len(sound)} pieces of sound and {len(picture_ns)} pictures",
            expected="both",
            fix="record camera and microphone into one file",
        )
    return measure_clap(_joined(sound), sound[0].start_ns, np.array(picture_ns, np.int64), np.array(motion))


def described(lag: ClapLag) -> str:
    """One line for people: what was found, and what to do with it."""
    ms, uncertainty_ms = lag.lag_ns / NS_PER_MS, lag.uncertainty_ns / NS_PER_MS
    claps = "1 clap" if lag.claps == 1 else f"{lag.claps} claps"
    where = "behind" if ms >= 0 else "before"
    return (
        f"the picture is {abs(ms):.0f} ms {where} the sound, within {uncertainty_ms:.0f} ms ({claps}): "
        f"the camera's latency is the microphone's {'plus' if ms >= 0 else 'minus'} {abs(ms):.0f} ms"
    )


def _items(path: str) -> Iterator[Item]:
    """What a file holds, up to the longest that is looked at, or to where its clock jumps."""
    source = MediaSource(path)
    try:
        while not source.ended and source.position_ns < LONGEST_NS:
            for item in source.read():
                if isinstance(item, EpochStart):
                    return
                yield item
    finally:
        source.close()


def _joined(sound: list[AudioChunk]) -> np.ndarray:
    """All samples at their places, int16 (n,); silence where there are none."""
    first_ns = sound[0].start_ns
    places = [(chunk.start_ns - first_ns) // NS_PER_SAMPLE for chunk in sound]
    samples = np.zeros(max(at + len(chunk.samples) for at, chunk in zip(places, sound, strict=True)), np.int16)
    for at, chunk in zip(places, sound, strict=True):
        samples[at : at + len(chunk.samples)] = chunk.samples
    return samples
