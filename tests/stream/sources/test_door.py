from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import pytest
from av.stream import Disposition
from media_making import Pictures, Sound, every, sine, write

from stream.errors import SettingsError, SourceError
from stream.sources.address import Address, Kind
from stream.sources.door import open_container
from stream.sources.media import MediaSource
from stream.sources.settings import MediaSettings
from stream.timeline.packets import Item, VideoFrame


def _read(source: MediaSource) -> list[Item]:
    items: list[Item] = []
    try:
        while not source.ended:
            items += source.read()
    finally:
        source.close()
    return items


def refusal(url: Path | str, settings: MediaSettings | None = None) -> str:
    """The one line with which the door refuses a source."""
    with pytest.raises(SourceError) as raised:
        _read(MediaSource(str(url), settings=settings or MediaSettings()))
    line = str(raised.value)
    assert "\n" not in line
    assert line.startswith("source")
    assert raised.value.exit_code == 2
    assert raised.value.__cause__ is None
    return line


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write(tmp_path / "clip.mkv", Pictures(every(40, 400)), Sound(sine(0.4)))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "zero bytes"),
        (b"only some text\n" * 100, "found text"),
        ("nur Text: é".encode() * 500, "found text"),
        (b"ffconcat version 1.0\nfile clip.mkv\n", "list of files"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nclip.mkv\n#EXT-X-ENDLIST\n", "playlist"),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n", "playlist"),
        (b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>', "playlist"),
        (os.urandom(1) + bytes(range(256)) * 20, "no media"),
    ],
    ids=["empty", "text", "accents", "ffconcat", "hls", "sdp", "dash", "noise"],
)
def test_what_is_no_media_is_refused_whatever_its_name(clip: Path, content: bytes, says: str) -> None:
    disguised = clip.with_name("disguised.mp4")
    disguised.write_bytes(content)
    assert says in refusal(disguised)


def test_files_that_are_not_there_or_no_files_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "nowhere.mp4")
    assert "directory" in refusal(tmp_path)
    assert "device" in refusal("/dev/null")
    assert "name too long" in refusal("x" * 5000)
    assert len(refusal("x" * 5000)) < 400
    assert "null" in refusal("a\0b")


@pytest.mark.parametrize(
    "form", ["concat:{0}|{0}", "subfile,,start,0,end,100,,:{0}", "data:text/plain,x", "cache:{0}", "rtmp://u:pass@h/x"]
)
def test_protocols_that_open_other_things_are_refused(clip: Path, form: str) -> None:
    line = refusal(form.format(clip))
    assert "protocol" in line
    assert "pass" not in line


@pytest.mark.parametrize(
    "url", ["http://[half", "rtsp://user:secret@h:99999/x", "http://user:secret/x", "http://user:se/cret@h/x"]
)
def test_addresses_that_are_none_are_refused_without_showing_secrets(url: str) -> None:
    line = refusal(url)
    assert "a URL that can't be read" in line
    assert not any(part in line for part in ("user", "se/cret", "secret"))


def test_an_empty_name_is_told() -> None:
    assert "an empty name" in refusal("")


def test_a_file_whose_name_looks_like_a_protocol_is_a_file(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clip.parent)
    clip.rename("concat:a.mkv")
    source = MediaSource("concat:a.mkv")
    assert len(source.streams) == 2
    source.close()


def test_what_is_remembered_of_a_long_tracks_places_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "long.mkv"
    with av.open(str(path), "w") as written:
        track = written.add_stream("pcm_s16le", rate=8_000, layout="mono")
        for number in range(3_000):
            packet = av.Packet(bytes(160))
            packet.stream, packet.pts, packet.dts, packet.time_base = track, number * 10, number * 10, Fraction(1, 1_000)
            written.mux(packet)
    entries = []
    for settings in (MediaSettings(), MediaSettings(index_bytes=4_096)):
        with open_container(Address.of(str(path)), settings) as container:
            assert sum(packet.size for packet in container.demux()) == 3_000 * 160
            entries.append(len(container.streams[0].index_entries))
    assert entries[1] < 200 < entries[0] < 1_500


def test_a_container_cut_before_its_index_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mp4", Pictures(every(40, 2000), codec="libx264"))
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert "cut before its index" in refusal(tmp_path / "cut.mp4")


def test_a_container_with_neither_video_nor_audio_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.ts"
    with av.open(str(path), "w") as output:
        stream = output.add_data_stream("klv")
        for number in range(20):
            packet = av.Packet(bytes(500))
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number * 40, number * 40, Fraction(1, 1000)
            output.mux(packet)
    assert "found data" in refusal(path)


def test_a_container_of_a_cover_alone_is_refused(tmp_path: Path) -> None:
    cover = Pictures([0], codec="mjpeg", pix_fmt="yuvj420p", disposition=Disposition.attached_pic)
    assert "expected a video or an audio track" in refusal(write(tmp_path / "cover.mp4", cover))


def test_frames_of_8192_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    pictures = Pictures([0], size=(8192, 8192), codec="libx264", options={"preset": "ultrafast"})
    path = write(tmp_path / "big.mp4", pictures)
    line = refusal(path)
    assert "8192x8192" in line
    assert "9437184 pixels" in line


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        (MediaSettings(max_pixels=1000), "at most 1000 pixels"),
        (MediaSettings(max_tracks=1), "2 tracks"),
        (MediaSettings(max_sample_rate=8_000), "16000 samples"),
        (MediaSettings(min_sample_rate=22_050), "16000 samples"),
        (MediaSettings(max_channels=1), "2 audio channels"),
        (MediaSettings(max_duration_ns=100_000_000), "hours"),
    ],
)
def test_each_limit_refuses_with_what_was_found(tmp_path: Path, limit: MediaSettings, says: str) -> None:
    path = write(tmp_path / "a.mkv", Pictures(every(40, 400)), Sound(sine(0.4, channels=2), layout="stereo"))
    assert says in refusal(path, limit)


def test_frames_that_grow_beyond_the_limit_are_never_given_out(tmp_path: Path) -> None:
    path = write(tmp_path / "grows.mkv", Pictures(every(40, 400), codec="mjpeg", pix_fmt="yuvj420p", sizes={5: (640, 480)}))
    source = MediaSource(str(path), settings=MediaSettings(max_pixels=10_000))
    frames = [item for item in _read(source) if isinstance(item, VideoFrame)]
    assert [frame.image.width for frame in frames] == [64] * 5
    assert source.dropped["video"] == 5
    assert any("beyond 10000 pixels" in notice for notice in source.notices)


def test_settings_out_of_their_range_are_refused() -> None:
    with pytest.raises(SettingsError, match="max_pixels"):
        MediaSettings(max_pixels=0)


@pytest.mark.parametrize(
    ("url", "kind", "shown"),
    [
        ("-", Kind.STDIN, "standard input"),
        ("http://h/a.mp4", Kind.HTTP, "http://h/a.mp4"),
        ("https://user:secret@h:8/a.mp4?token=secret#secret", Kind.HTTP, "https://h:8/a.mp4?..."),
        ("RTSP://user:secret@camera/1", Kind.RTSP, "rtsp://camera/1"),
        ("udp://127.0.0.1:5000?fifo_size=1", Kind.UDP, "udp://127.0.0.1:5000?..."),
    ],
)
def test_addresses_are_shown_without_secrets(url: str, kind: Kind, shown: str) -> None:
    address = Address.of(url)
    assert (address.kind, address.shown) == (kind, shown)


class _Server(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "/clip.mkv")
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(clip: Path) -> Iterator[str]:
    """The address of a server on loopback that holds the clip, with a secret in it."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Server, directory=str(clip.parent))) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://user:secret@127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def test_http_is_read(server: str) -> None:
    source = MediaSource(f"{server}/clip.mkv?token=secret")
    _read(source)
    assert source.position_ns == 400_000_000
    assert source.cut is None


def test_http_redirects_playlists_and_missing_pages_are_refused_without_showing_secrets(server: str, clip: Path) -> None:
    clip.with_name("list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nclip.mkv\n#EXT-X-ENDLIST\n")
    lines = {path: refusal(f"{server}/{path}?token=secret") for path in ("moved", "list.m3u8", "nowhere.mp4")}
    assert "redirect" in lines["moved"]
    assert "playlists are refused" in lines["list.m3u8"]
    assert "404" in lines["nowhere.mp4"]
    assert not any("secret" in line for line in lines.values())


def test_an_address_where_nobody_listens_is_told() -> None:
    assert "refused" in refusal("http://user:secret@127.0.0.1:9/a.mp4")
