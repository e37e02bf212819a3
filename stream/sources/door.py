"""The door of media: which formats and protocols FFmpeg may use for each kind of source, and limits on what is inside."""

from __future__ import annotations

import errno
import ssl
import stat
import threading
from concurrent.futures import Future
from typing import NamedTuple

import av
from av.container import InputContainer
from av.stream import Disposition, Stream

from stream.errors import SourceError
from stream.sources.address import Address, Kind
from stream.sources.settings import MediaSettings
from stream.timeline.time import NS_PER_SECOND, to_seconds

av.logging.set_level(None)  # libav writes to standard error by itself, file names and all

CONTAINER_FORMATS = (
    "aac,ac3,aiff,amr,asf,au,avi,caf,dv,eac3,flac,flv,gif,gxf,h264,hevc,ivf,m4v,matroska,mjpeg,mov,mp3,mpeg,mpegts,mpegvideo,"
    "mxf,nut,ogg,rm,tta,w64,wav,wv,yuv4mpegpipe"
)
"""Demuxers that read what they are given and open nothing else: no playlist, no list of files, no images, no devices."""

_DECLARING_FORMATS = frozenset(("aiff", "asf", "avi", "caf", "flac", "flv", "matroska", "mov", "w64", "wav"))
"""Formats whose header states a length; elsewhere FFmpeg estimates it from what is there, or from a bit rate."""

_RESETTING_FORMATS = frozenset(("mpeg", "mpegts", "rtsp"))
"""Broadcast formats, whose clock may be set anew at any time."""

_PLAYLIST_HEADS = (b"ffconcat", b"#EXTM3U", b"[playlist]", b"<?xml", b"<MPD", b"v=0")


_PROTOCOLS = {
    Kind.FILE: "file",
    Kind.STDIN: "pipe",
    Kind.HTTP: "http,https,tcp,tls",
    Kind.RTSP: "rtsp,rtp,udp,tcp",
    Kind.UDP: "udp",
}
_FORMATS = {
    Kind.FILE: CONTAINER_FORMATS,
    Kind.STDIN: CONTAINER_FORMATS,
    Kind.HTTP: CONTAINER_FORMATS,
    Kind.RTSP: "rtsp",
    Kind.UDP: "mpegts",
}


class Tracks(NamedTuple):
    """The tracks that are read, and what a user should know about the choice."""

    video: av.VideoStream | None
    audio: av.AudioStream | None
    notices: tuple[str, ...]


def open_container(address: Address, settings: MediaSettings) -> InputContainer:
    """A container, opened through the door. Raises `SourceError` with one line that holds no secret."""
    if address.kind is Kind.FILE:
        _check_file(address)
    network = address.kind not in (Kind.FILE, Kind.STDIN)
    options = {
        "format_whitelist": _FORMATS[address.kind],
        "protocol_whitelist": _PROTOCOLS[address.kind],
        "max_pixels": str(settings.max_pixels),  # frames are decoded already while FFmpeg probes
        "indexmem": str(settings.index_bytes),
    }
    if address.kind is Kind.HTTP:
        options["max_redirects"] = "0"  # a redirect leads to any host, this one's own ports among them
        options["tls_verify"] = "1"
        authorities = ssl.get_default_verify_paths().cafile
        if authorities:
            options["ca_file"] = authorities
    timeouts = (settings.open_timeout_ns / NS_PER_SECOND, settings.read_timeout_ns / NS_PER_SECOND) if network else None
    try:
        container = _opened(address.url, options, timeouts)
    except av.FFmpegError as error:
        # The original names the address, secrets and all.
        raise _refusal(address, error, settings) from None
    try:
        _check_container(container, address, settings)
    except SourceError:
        container.close()
        raise
    return container


def _opened(url: str, options: dict[str, str], timeouts: tuple[float, float] | None) -> InputContainer:
    """Opens in a thread of its own: while FFmpeg waits for a pipe or a network, PyAV swallows an interrupt of the caller's."""
    answer: Future[InputContainer] = Future()

    def work() -> None:
        try:
            answer.set_result(av.open(url, options=options, timeout=timeouts, metadata_errors="replace"))
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=work, name="opening", daemon=True).start()
    return answer.result()


def choose_tracks(container: InputContainer, address: Address, settings: MediaSettings, *, joined: bool) -> Tracks:
    """The video and the audio track to read. Raises `SourceError` where there is neither, or one beyond the limits.

    `joined`: the source may begin between key frames, as broadcast formats do, and then says no size of its frames yet.
    """
    notices: list[str] = []
    chosen: dict[str, Stream | None] = {}
    for kind in ("video", "audio"):
        of_kind = [s for s in container.streams if s.type == kind and not s.disposition & Disposition.attached_pic]
        readable = [s for s in of_kind if s.codec_context is not None]
        notices += [f"{kind} track {s.index} has a codec that can't be decoded here" for s in of_kind if s not in readable]
        best = container.streams.best(kind, related=chosen.get("video"))
        track = next((s for s in readable if s is best), readable[0] if readable else None)
        chosen[kind] = track
        if track is None:
            notices.append(f"no {kind}")
        elif len(readable) > 1:
            others = ", ".join(str(s.index) for s in readable if s is not track)
            notices.append(f"{len(readable)} {kind} tracks: track {track.index} is read, not {others}")
    video, audio = chosen["video"], chosen["audio"]
    if video is None and audio is None:
        found = ", ".join(sorted({s.type for s in container.streams})) or "no tracks at all"
        raise SourceError(
            f"source {address.shown}",
            found=found,
            expected="a video or an audio track that can be decoded",
            fix="give the file that holds it",
        )
    assert video is None or isinstance(video, av.VideoStream)
    assert audio is None or isinstance(audio, av.AudioStream)
    if video is not None:
        if not video.width and not joined:
            raise SourceError(
                f"source {address.shown}",
                found="frames whose size can't be read: damaged, or too large",
                expected=f"at most {settings.max_pixels} pixels a frame",
                fix="scale the video down, or repair it, first",
            )
        check_frame_size(video.width, video.height, address, settings)
        video.codec_context.options = {"max_pixels": str(settings.max_pixels)}
    if audio is not None:
        _check_audio(audio, address, settings)
    for track in filter(None, (video, audio)):
        track.codec_context.thread_count = settings.decoder_threads
    return Tracks(video, audio, tuple(notices))


def declares_length(container: InputContainer) -> bool:
    """Whether this format's header states a length, so that less than it is a cut."""
    return not _DECLARING_FORMATS.isdisjoint(container.format.name.split(","))


def clock_resets(container: InputContainer) -> bool:
    """Whether in this format a jump of the time stamps says nothing about the time between."""
    return not _RESETTING_FORMATS.isdisjoint(container.format.name.split(","))


def check_frame_size(width: int, height: int, address: Address, settings: MediaSettings) -> None:
    """Raise `SourceError` where a frame has more pixels than the door lets in."""
    if width * height > settings.max_pixels:
        raise SourceError(
            f"source {address.shown}",
            found=f"frames of {width}x{height}",
            expected=f"at most {settings.max_pixels} pixels a frame",
            fix="scale the video down first",
        )


def check_sample_rate(rate: int, address: Address, settings: MediaSettings) -> None:
    """Raise `SourceError` where audio has a sample rate that the door does not let in."""
    if not settings.min_sample_rate <= rate <= settings.max_sample_rate:
        raise SourceError(
            f"source {address.shown}",
            found=f"audio of {rate} samples a second",
            expected=f"{settings.min_sample_rate} to {settings.max_sample_rate}",
            fix="resample it first",
        )


def check_duration(duration_ns: int, address: Address, settings: MediaSettings) -> None:
    """Raise `SourceError` where a source is longer than the door lets in."""
    if duration_ns > settings.max_duration_ns:
        raise SourceError(
            f"source {address.shown}",
            found=f"{to_seconds(duration_ns) / 3600:.1f} hours",
            expected=f"at most {to_seconds(settings.max_duration_ns) / 3600:.1f} hours",
            fix="cut it into parts",
        )


def _check_audio(audio: av.AudioStream, address: Address, settings: MediaSettings) -> None:
    context = audio.codec_context
    if context.sample_rate:  # some decoders know it from the first frame on
        check_sample_rate(context.sample_rate, address, settings)
    if context.layout.nb_channels > settings.max_channels:
        raise SourceError(
            f"source {address.shown}",
            found=f"{context.layout.nb_channels} audio channels",
            expected=f"at most {settings.max_channels}",
            fix="mix it down first",
        )


def _check_file(address: Address) -> None:
    shown = address.shown
    try:
        status = address.path.stat()
    except (OSError, ValueError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", None) or str(error)
        raise SourceError(f"source {shown}", found=reason.lower(), expected="a media file", fix="check the path") from None
    if stat.S_ISDIR(status.st_mode):
        raise SourceError(f"source {shown}", found="a directory", expected="a media file", fix="name one file in it")
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)):
        raise SourceError(f"source {shown}", found="a device or a socket", expected="a media file, or - for standard input")
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise SourceError(f"source {shown}", found="a file of zero bytes", expected="a media file", fix="fetch it again")


def _check_container(container: InputContainer, address: Address, settings: MediaSettings) -> None:
    if len(container.streams) > settings.max_tracks:
        raise SourceError(
            f"source {address.shown}", found=f"{len(container.streams)} tracks", expected=f"at most {settings.max_tracks}"
        )
    if container.duration is not None:
        check_duration(container.duration * 1_000, address, settings)


def _refusal(address: Address, error: av.FFmpegError, settings: MediaSettings) -> SourceError:
    what = f"source {address.shown}"
    if isinstance(error, av.error.ExitError | av.error.TimeoutError):
        waited = f"no answer within {to_seconds(settings.open_timeout_ns):g} s"
        return SourceError(what, found=waited, fix="check the address, and that it sends")
    if isinstance(error, av.error.PermissionError) and address.kind is Kind.FILE:
        return SourceError(what, found="a file that may not be read", expected="a media file", fix="change its permissions")
    if isinstance(error, av.error.InvalidDataError | av.error.ArgumentError | av.error.PermissionError):
        found, fix = _what_it_is(address)
        return SourceError(what, found=found, expected="a media container (mp4, mkv, webm, mpg, wav ...)", fix=fix)
    found = (error.strerror or type(error).__name__).lower()
    if address.kind is Kind.HTTP:
        if error.errno == errno.EIO:  # all that FFmpeg says of them
            found = "an unknown host, an untrusted certificate, or a redirect"
        return SourceError(what, found=found, expected="media at this very address", fix="check the address")
    if address.kind in (Kind.RTSP, Kind.UDP):
        found = "an unknown host, or one that does not answer" if error.errno == errno.EIO else found
        return SourceError(what, found=found, expected="a stream", fix="check the address, and that it sends")
    return SourceError(what, found=found, fix="check that it can be read")


def _what_it_is(address: Address) -> tuple[str, str]:
    """What a file is that FFmpeg did not open as media, and the way out."""
    if address.kind is not Kind.FILE:
        return (
            "a page, a playlist, something else, or media with its index at the end",
            "playlists are refused: give the media itself, as a file where its index is at the end",
        )
    with address.path.open("rb") as file:
        head = file.read(4096)
    if head.lstrip().startswith(_PLAYLIST_HEADS):
        return "a playlist or a list of files", "lists are refused since they open other files: give the media itself"
    if b"\0" not in head and _is_text(head):
        return "text", "give the media itself"
    return "no media, or a file cut before its index", "check it with ffprobe, or fetch it again"


def _is_text(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 4  # a letter cut at the end of what was read
    return True
