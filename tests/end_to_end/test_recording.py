from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest
from recording_rewriting import changes_one_chunk, digest, rewrite, without_predictions

from deploy.inline import LoadedOperators, open_session
from deploy.replay import Replay
from deploy.report.content import content_of
from deploy.report.media import playable
from deploy.rerun import rerun_session
from operators.model_folder import DEFAULT_MODEL
from stream.recording.reader import Recording
from stream.sources.media import MediaSource
from stream.timeline.packets import Item, VideoFrame


def record(source: Path, target: Path, operators: LoadedOperators, **options: object) -> str:
    with open_session(str(source), operators=operators, session="test", record=target, **options) as session:
        return digest(session)


@pytest.fixture(scope="module")
def recorded(talking_clip: Path, operators: LoadedOperators, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A recording, and the digest of what its session predicted."""
    target = tmp_path_factory.mktemp("recorded") / "a.mcap"
    return target, record(talking_clip, target, operators)


def test_replays_equal_the_session_and_one_changed_packet_changes_them(
    recorded: tuple[Path, str], operators: LoadedOperators, tmp_path: Path
) -> None:
    path, live = recorded
    bare = rewrite(path, tmp_path / "b.mcap", without_predictions)
    assert list(Recording(bare).predictions()) == []
    assert digest(Replay(Recording(bare), operators)) == live
    arrivals: list[int] = []
    assert digest(Replay(Recording(bare), operators, pace=lambda ns: arrivals.append(ns) is None)) == live
    assert arrivals == sorted(arrivals)

    louder = rewrite(bare, tmp_path / "c.mcap", changes_one_chunk())
    assert digest(Replay(Recording(louder), operators)) != live


def test_the_media_give_the_same_again(recorded: tuple[Path, str], operators: LoadedOperators) -> None:
    path, live = recorded
    with rerun_session(Recording(path), operators) as session:
        assert digest(session) == live


@pytest.mark.parametrize("clip", ["obama_speech.mp4", "nasa_13013.mp4", "bbaf2n.mpg"])
def test_real_clips_replay_to_the_byte(clip: str, shared_data: Path, operators: LoadedOperators, tmp_path: Path) -> None:
    live = record(shared_data / "clips" / clip, tmp_path / "a.mcap", operators)
    recording = Recording(tmp_path / "a.mcap")
    replay = Replay(recording, operators)
    assert digest(replay) == live
    assert digest(recording.predictions()) == live
    assert recording.end is not None
    assert replay.dispositions() == recording.end.dispositions
    with rerun_session(recording, operators) as session:
        assert digest(session) == live


def test_given_words_are_recorded(talking_clip: Path, operators: LoadedOperators, tmp_path: Path) -> None:
    words = tmp_path / "words.vtt"
    words.write_text("WEBVTT\n\n00:00.500 --> 00:04.000\nthis is a wonderful day\n\n00:05.000 --> 00:07.000\nand so is this\n")
    live = record(talking_clip, tmp_path / "a.mcap", operators, transcript=str(words), segments="lines")
    recording = Recording(tmp_path / "a.mcap")
    assert recording.transcript == words.read_bytes()
    assert digest(Replay(recording, operators)) == live
    with rerun_session(recording, operators) as session:
        assert digest(session) == live


def test_recording_without_predicting_replays_as_if_it_had(
    recorded: tuple[Path, str], talking_clip: Path, operators: LoadedOperators, tmp_path: Path
) -> None:
    assert record(talking_clip, tmp_path / "b.mcap", operators, predict=False) == digest([])
    assert digest(Replay(Recording(tmp_path / "b.mcap"), operators)) == recorded[1]


@pytest.mark.parametrize(("clip", "kind"), [("obama_speech.mp4", "video/mp4"), ("bbaf2n.mpg", "video/webm")])
def test_a_report_plays_the_recorded_media_on_session_time(
    clip: str, kind: str, shared_data: Path, operators: LoadedOperators, tmp_path: Path
) -> None:
    record(shared_data / "clips" / clip, tmp_path / "a.mcap", operators, predict=False)
    content, recording = content_of(tmp_path / "a.mcap")
    assert recording is not None
    media = playable(recording, tmp_path)
    assert media is not None
    assert media.media_type == kind
    original, again = MediaSource(str(shared_data / "clips" / clip)), MediaSource(str(media.path))
    frames, same = ([i.start_ns for i in items(source) if isinstance(i, VideoFrame)] for source in (original, again))
    assert len(same) == pytest.approx(len(frames), abs=1)
    assert np.abs(np.array(frames[: len(same)]) - np.array(same[: len(frames)])).max() <= 2_000_000
    assert content.seconds == pytest.approx(original.position_ns / 1e9, abs=0.2)


def items(source: MediaSource) -> Iterator[Item]:
    while not source.ended:
        yield from source.read()


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """The test's output is not for this."""


def test_media_whose_codec_can_not_be_written_down_are_told(operators: LoadedOperators, tmp_path: Path) -> None:
    source, target = tmp_path / "a.mov", tmp_path / "a.mcap"
    with av.open(str(source), "w") as output:
        track = output.add_stream("alac", rate=16_000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.int16), format="s16p", layout="mono")
        silence.sample_rate, silence.pts = 16_000, 0
        output.mux([*track.encode(silence), *track.encode(None)])
    with open_session(str(source), operators=operators, record=target, predict=False) as session:
        told = [line for line in session.notices if "alac" in line]
        list(session)
    assert len(told) == 1
    recording = Recording(target)
    assert [*recording.arrived(), *recording.media()]
    assert recording.media_head is None
    assert recording.end is not None
    assert set(told) <= set(recording.end.notices)


def test_no_secret_of_an_address_is_recorded(talking_clip: Path, operators: LoadedOperators, tmp_path: Path) -> None:
    handler = functools.partial(Files, directory=talking_clip.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://somebody:hush-hush@127.0.0.1:{server.server_port}/{talking_clip.name}?token=hush-hush"
        with open_session(address, operators=operators, record=tmp_path / "a.mcap", predict=False) as session:
            assert list(session) == []
        server.shutdown()
    recording = Recording(tmp_path / "a.mcap")
    assert recording.head.source == f"http://127.0.0.1:{server.server_port}/{talking_clip.name}?..."
    everything = [*recording.messages(""), recording.media_head, recording.end, (tmp_path / "a.mcap").read_bytes()]
    assert "hush" not in repr(everything)


def test_another_model_reads_the_recorded_faces_anew(shared_data: Path, operators: LoadedOperators, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(DEFAULT_MODEL, folder)
    (folder / "card.md").write_text("another one")
    clip = shared_data / "clips" / "obama_speech.mp4"
    with open_session(str(clip), operators=operators, session="test", record=tmp_path / "a.mcap") as session:
        live = list(session)
    other = LoadedOperators(folder)
    given = list(Replay(Recording(tmp_path / "a.mcap"), other))
    other.close()
    assert other.identity.digest != operators.identity.digest
    assert {p.result.model.digest for p in given if p.result.model} == {other.identity.digest}
    assert [msgspec.structs.replace(p.result, model=None) for p in given] == [
        msgspec.structs.replace(p.result, model=None) for p in live
    ]
