"""Media, transcripts and addresses that can't be used, through the command line: one line with what, where, the way out."""

from __future__ import annotations

import http.server
import json
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from stream.prediction import Prediction, Result, decode
from stream.timeline.time import NS_PER_SECOND

WORDS = "WEBVTT\n\n00:00.500 --> 00:01.500\nit was the best of times\n"
PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsound.wav\n#EXT-X-ENDLIST\n"
Analyze = Callable[..., Any]
PAGE = b"<!DOCTYPE html><html><body>Sign in to see this video</body></html>\n" * 20


def written(path: Path) -> list[Prediction]:
    """The lines of an output file, each a whole prediction; JSON knows no NaN."""
    lines = path.read_text().splitlines()
    for line in lines:
        json.loads(line, parse_constant=pytest.fail)
    return [decode(line) for line in lines]


def finals(path: Path) -> list[Result]:
    return [p.result for p in written(path) if p.result.status == "final"]


def pictures(path: Path, side: int, codec: str, pix_fmt: str, count: int = 1) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"preset": "ultrafast"} if codec == "libx264" else {})
        stream.width = stream.height = side
        stream.pix_fmt = pix_fmt
        for number in range(count):
            frame = av.VideoFrame(side, side, pix_fmt)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def float_wav(path: Path, samples: np.ndarray) -> Path:
    data = samples.astype("<f4").tobytes()
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 3, 1, 16_000, 64_000, 4, 32, b"data", len(data)
    )
    path.write_bytes(head + data)
    return path


@pytest.mark.parametrize(
    ("content", "found", "way_out"),
    [
        (None, "no such file", "check the path"),
        ("", "zero bytes", "fetch it again"),
        ("only some text\n" * 100, "found text", "give the media itself"),
        ("ffconcat version 1.0\nfile sound.wav\n", "a list of files", "give the media itself"),
        (PLAYLIST, "a playlist", "give the media itself"),
    ],
    ids=["missing", "empty", "text", "ffconcat", "playlist"],
)
def test_what_is_no_media_is_told_before_the_model_is_loaded(
    analyze: Analyze, unloaded: None, sound: Path, content: str | None, found: str, way_out: str
) -> None:
    if content is not None:
        Path("clip.mp4").write_text(content)
    line = analyze("clip.mp4", "--output", "out.jsonl").refusal
    assert "source clip.mp4: found " in line
    assert found in line
    assert way_out in line
    assert not Path("out.jsonl").exists()


def test_a_directory_is_told(analyze: Analyze, unloaded: None, tmp_path: Path) -> None:
    assert "found a directory, expected a media file; name one file in it" in analyze(tmp_path).refusal


@pytest.mark.parametrize("form", ["concat:{0}|{0}", "subfile,,start,0,end,100,,:{0}"])
def test_protocols_that_open_other_files_are_told(analyze: Analyze, unloaded: None, sound: Path, form: str) -> None:
    line = analyze(form.format(sound)).refusal
    assert f"found protocol {form[:6]}" in line
    assert "expected a path, http(s)://" in line


def test_frames_that_are_too_large_are_told(analyze: Analyze, unloaded: None) -> None:
    line = analyze(pictures(Path("large.mp4"), 8192, "libx264", "yuv420p")).refusal
    assert "frames of 8192x8192, expected at most 9437184 pixels a frame; scale the video down first" in line


def test_a_container_with_neither_video_nor_audio_is_told(analyze: Analyze, unloaded: None) -> None:
    with av.open("data.ts", "w") as container:
        stream = container.add_data_stream("klv")
        for number in range(20):
            packet = av.Packet(bytes(500))
            packet.stream, packet.pts, packet.dts = stream, number * 3600, number * 3600
            container.mux(packet)
    assert "found data, expected a video or an audio track" in analyze("data.ts").refusal


@pytest.mark.parametrize(
    ("tracks", "notice"),
    [({"audio": False}, "no audio"), ({"video": False}, "no video")],
    ids=["without audio", "without video"],
)
def test_one_track_alone_is_analysed_and_the_other_told(
    analyze: Analyze, loaded: None, write_media: Callable[..., Path], tracks: dict[str, bool], notice: str
) -> None:
    clip = write_media(Path("clip.mkv"), seconds=1, **tracks)
    outcome = analyze(clip, "--output", "out.jsonl")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"{notice}\n")
    (only,) = finals(Path("out.jsonl"))
    assert only.modalities[notice.split()[1]].absence == "not-declared"


def test_samples_that_are_no_numbers_are_masked_and_told(analyze: Analyze, loaded: None) -> None:
    samples = 0.1 * np.sin(np.arange(32_000) / 5)
    samples[8_000:12_000] = np.nan
    samples[12_000:12_100] = np.inf
    outcome = analyze(float_wav(Path("sound.wav"), samples), "--output", "out.jsonl")
    assert (outcome.code, outcome.err) == (0, "")
    assert "audio: 4100 samples that are no numbers were masked" in outcome.out
    (only,) = finals(Path("out.jsonl"))
    assert only.modalities["audio"].coverage == pytest.approx(1 - 4_100 / 32_000, abs=0.01)


def test_frames_of_one_pixel_are_left_out_and_told(analyze: Analyze, loaded: None) -> None:
    outcome = analyze(pictures(Path("dots.mkv"), 1, "ffv1", "bgr0", 25))
    assert outcome.code == 2
    assert "25 frames smaller than 16 pixels were dropped, expected video or audio" in outcome.error


def test_what_a_cut_file_holds_is_analysed_and_the_cut_told(analyze: Analyze, loaded: None, talking_clip: Path) -> None:
    whole = talking_clip.read_bytes()
    Path("cut.mkv").write_bytes(whole[: len(whole) // 2])
    outcome = analyze("cut.mkv", "--output", "out.jsonl")
    assert outcome.code == 1
    assert "source cut.mkv: video declares 8." in outcome.error
    assert "what is there was analysed, fetch it again for the rest" in outcome.error
    results = finals(Path("out.jsonl"))
    assert 2 * NS_PER_SECOND < results[-1].end_ns < 6 * NS_PER_SECOND
    assert any("best of times" in r.transcript.text.lower() for r in results if r.transcript)
    assert "best of times" in outcome.out.lower()


def test_pictures_without_any_key_frame_are_told(analyze: Analyze, loaded: None) -> None:
    whole = pictures(Path("whole.ts"), 64, "libx264", "yuv420p", 100).read_bytes()
    Path("joined.ts").write_bytes(whole[188 * (len(whole) // 188 // 2) :])
    outcome = analyze("joined.ts")
    assert outcome.code == 2
    assert "source joined.ts: found video: " in outcome.error
    assert "packets were dropped: damaged, or of frames beyond 9437184 pixels, expected video or audio" in outcome.error


def test_a_file_with_damage_inside_is_analysed_and_the_damage_told(analyze: Analyze, loaded: None) -> None:
    clip = pictures(Path("damaged.mp4"), 64, "libx264", "yuv420p", 100)
    with av.open(str(clip)) as container:
        packets = [(p.pos, p.size) for p in container.demux() if p.size]
    data = bytearray(clip.read_bytes())
    for position, size in packets[50:53]:
        assert position is not None
        data[position : position + size] = bytes(size)
    clip.write_bytes(data)
    outcome = analyze(clip, "--output", "out.jsonl")
    assert outcome.code == 1
    assert "source damaged.mp4: 3 packets of video could not be decoded; what is there was analysed" in outcome.error
    assert finals(Path("out.jsonl"))[-1].end_ns == 4 * NS_PER_SECOND


@pytest.mark.parametrize(
    ("name", "content", "where", "found"),
    [
        ("no.vtt", None, "no.vtt", "no such file"),
        ("times.vtt", "WEBVTT\n\n00:01.000 --> 00:02.x\nhello\n", "line 3", "expected times like"),
        ("back.vtt", "WEBVTT\n\n00:03.000 --> 00:02.000\nhello\n", "line 3", "ends before it starts"),
        ("arrow.srt", "1\n00:00:01,000 --> 00:00:02,000\na\n\n2\n00:00:03,000 -> 00:00:04,000\nb\n", "line 6", "without times"),
        ("half.jsonl", '{"start": 0, "end": 1, "text": "a b"}\n{"start": 1, "en\n', "line 2", "no JSON"),
        ("nan.jsonl", '{"start": NaN, "end": 1, "text": "a b"}\n', "line 1", "start NaN"),
        ("plain.txt", "just some words\n", "plain.txt", "neither times (-->) nor JSON"),
        ("media.vtt", "\0\1\2", "media.vtt", "binary data"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value[-6:] and " " not in value else "",
)
def test_a_broken_transcript_is_told_with_its_line(
    analyze: Analyze, unloaded: None, sound: Path, name: str, content: str | None, where: str, found: str
) -> None:
    if content is not None:
        Path(name).write_text(content)
    line = analyze(sound, "--transcript", name).refusal
    assert f"transcript {name}" in line
    assert where in line
    assert found in line


def test_cues_that_overlap_or_are_out_of_order_are_used_and_told(analyze: Analyze, loaded: None, sound: Path) -> None:
    Path("words.vtt").write_text("WEBVTT\n\n00:01.000 --> 00:01.900\nthree four\n\n00:00.000 --> 00:01.400\none two\n")
    outcome = analyze(sound, "--transcript", "words.vtt", "--segments", "lines", "--output", "out.jsonl")
    assert (outcome.code, outcome.err) == (0, "")
    assert "transcript: 1 cues stand before an earlier one: sorted" in outcome.out
    assert "transcript: 1 cues begin before the one before has ended" in outcome.out
    results = finals(Path("out.jsonl"))
    assert [(r.start_ns, r.end_ns) for r in results if r.kind == "line"] == [(0, 1_400_000_000), (1_400_000_000, 1_900_000_000)]
    assert sorted(w.text for r in results if r.transcript for w in r.transcript.words) == ["four", "one", "three", "two"]


class _Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/none"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """Host and port of a server on loopback that has no media."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    ("page", "found"), [("none.mp4", "found server returned 404 not found"), ("page.mp4", "found a page, a playlist")]
)
def test_an_address_without_media_is_told_without_its_secrets(
    analyze: Analyze, unloaded: None, host: str, page: str, found: str
) -> None:
    line = analyze(f"http://someone:hidden@{host}/{page}?token=hidden").refusal
    assert f"source http://{host}/{page}?...: {found}" in line
    assert "hidden" not in line


@pytest.mark.parametrize("scheme", ["http", "rtsp", "rtmp"])
def test_an_address_that_fails_shows_no_password_whatever_is_asked(analyze: Analyze, unloaded: None, scheme: str) -> None:
    url = f"{scheme}://someone:hidden@127.0.0.1:1/clip.mp4?token=hidden"
    assert "hidden" not in analyze(url).refusal
    outcome = analyze(url, "--debug")
    assert outcome.code == 2
    assert "hidden" not in outcome.out + outcome.err


def test_debug_shows_where_it_failed(analyze: Analyze, unloaded: None) -> None:
    outcome = analyze("none.mp4", "--debug")
    assert outcome.code == 2
    assert "_check_file" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("affectstream: source none.mp4: found no such file")
