from __future__ import annotations

import wave
from pathlib import Path

import av
import numpy as np
import pytest

from deploy.bench.joined_media import RATE, join_clips
from stream.errors import InputError
from stream.timeline.time import SAMPLE_RATE


def tone(path: Path, seconds: float) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        samples = 8_000 * np.sin(np.arange(int(seconds * SAMPLE_RATE)) / 10)
        file.writeframes(samples.astype(np.int16).tobytes())
    return path


def white(path: Path, frames: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((240, 320, 3), 255, np.uint8), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_clips_lie_where_it_says_with_silence_between(tmp_path: Path) -> None:
    joined = join_clips([tone(tmp_path / "a.wav", 1), tone(tmp_path / "b.wav", 2)], tmp_path / "j.mkv", silence_s=[1, 2])
    assert joined.clips == ((0.0, 1.0), (2.0, 4.0))
    assert joined.seconds == 6.0
    with av.open(str(tmp_path / "j.mkv")) as container:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    loud = [bool(np.abs(part).max() > 0) for part in np.split(sound, 6)]
    assert loud == [True, False, True, True, False, False]


def test_sound_alone_gets_the_pictures_of_the_clip_that_has_some(tmp_path: Path) -> None:
    join_clips([tone(tmp_path / "a.wav", 1), white(tmp_path / "b.mkv", 10)], tmp_path / "j.mkv", silence_s=[0])
    with av.open(str(tmp_path / "j.mkv")) as container:
        brightness = [float(frame.to_ndarray(format="gray").mean()) for frame in container.decode(video=0)]
    assert len(brightness) >= RATE
    assert min(brightness) > 200


def test_nothing_to_join_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="clips to join: found none"):
        join_clips([], tmp_path / "j.mkv", silence_s=[1])


def test_a_clip_that_is_not_there_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"clip .*missing\.mp4: found"):
        join_clips([tmp_path / "missing.mp4"], tmp_path / "j.mkv", silence_s=[1])
