from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from deploy.cli.doctor_clap import clap_lag
from stream.errors import InputError
from stream.timeline.time import NS_PER_MS, SAMPLE_RATE

RATE, SECONDS = 25, 4
CLAPS_S = (1.013, 2.0, 3.127)


def write_clap(path: Path, *, lag_s: float = 0.0, video: bool = True, sound: bool = True) -> str:
    """Two bars that meet at each clap and stay together, and a burst of noise at each; the picture shows it `lag_s` later."""
    chance = np.random.default_rng(1)
    with av.open(str(path), "w", format="matroska") as container:
        pictures = container.add_stream("mpeg4", rate=RATE, options={"qscale": "2"}) if video else None
        heard = container.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono") if sound else None
        samples = chance.normal(0, 10, SECONDS * SAMPLE_RATE)
        for clap in CLAPS_S:
            first = round(clap * SAMPLE_RATE)
            samples[first : first + 800] += chance.normal(0, 6_000, 800) * np.exp(-np.arange(800) / 150)
        if pictures is not None:
            pictures.width, pictures.height, pictures.pix_fmt = 160, 120, "yuv420p"
            pictures.codec_context.thread_count = 1
        for index in range(SECONDS * RATE):
            if pictures is not None:
                frame = av.VideoFrame.from_ndarray(_hands(index / RATE - lag_s), format="rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = index, Fraction(1, RATE)
                container.mux(pictures.encode(frame))
            if heard is not None:
                part = samples[index * SAMPLE_RATE // RATE : (index + 1) * SAMPLE_RATE // RATE].astype(np.int16)
                audio = av.AudioFrame.from_ndarray(part[None], format="s16", layout="mono")
                audio.sample_rate, audio.pts, audio.time_base = SAMPLE_RATE, index * len(part), Fraction(1, SAMPLE_RATE)
                container.mux(heard.encode(audio))
        for stream in (pictures, heard):
            if stream is not None:
                container.mux(stream.encode(None))
    return str(path)


def _hands(instant_s: float) -> np.ndarray:
    """The bars approach over 0.2 s, touch for 0.2 s and part over a quarter of a second: uint8 (120, 160, 3)."""
    since = instant_s - min(CLAPS_S, key=lambda clap: abs(clap - instant_s))
    apart = min(40.0, -200 * since if since < 0 else max(0.0, 160 * (since - 0.2)))
    column = np.abs(np.arange(160) - 80)
    bars = np.clip(10.5 - np.abs(column - 10 - apart), 0, 1)
    return np.repeat(np.tile(40 + 160 * bars, (120, 1))[:, :, None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("lag_s", [-0.1, 0.18])
def test_the_lag_of_a_file_is_measured_within_what_is_stated(
    tmp_path: Path, affectstream: Callable[..., Any], lag_s: float
) -> None:
    path = write_clap(tmp_path / "clap.mkv", lag_s=lag_s)
    lag = clap_lag(path)
    assert lag.claps == 3
    assert abs(lag.lag_ns - lag_s * 1e9) <= lag.uncertainty_ns <= 30 * NS_PER_MS
    outcome = affectstream("doctor", "--clap", path)
    assert outcome.code == 0
    said = re.fullmatch(r"the picture is (\d+) ms (behind|before) the sound, within \d+ ms \(3 claps\): .*\n", outcome.out)
    assert said is not None
    assert said[2] == ("behind" if lag_s > 0 else "before")
    assert int(said[1]) == round(abs(lag.lag_ns) / NS_PER_MS)


@pytest.mark.parametrize("missing", ["video", "sound"])
def test_a_file_without_sound_or_picture_is_refused(tmp_path: Path, affectstream: Callable[..., Any], missing: str) -> None:
    path = write_clap(tmp_path / "half.mkv", **{missing: False})
    with pytest.raises(InputError, match="expected both; record camera and microphone into one file"):
        clap_lag(path)
    assert affectstream("doctor", "--clap", path).code == 2
