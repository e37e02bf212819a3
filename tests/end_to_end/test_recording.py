from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap.writer import Writer

from deploy.inline import LoadedOperators, open_session
from deploy.replay import Replay
from deploy.report.content import content_of
from deploy.report.media import playable
from deploy.rerun import rerun_session
from stream.prediction import Prediction
from stream.recording.entries import Arrived, Sounds, decode_entries, encode_entries
from stream.recording.reader import Recording
from stream.recording.schemas import DOOR, END, HEAD, PREDICTIONS
from stream.sources.media import MediaSource
from stream.timeline.packets import AudioChunk, Item, VideoFrame


def digest(predictions: Iterable[Prediction]) -> str:
    return hashlib.sha256(b"\n".join(msgspec.json.encode(p.result) for p in predictions)).hexdigest()


def record(source: Path, target: Path, operators: LoadedOperators, **options: object) -> str:
    with open_session(str(source), operators=operators, session="test", record=target, **options) as session:
        return digest(session)


def rewrite(source: Path, target: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """Another recording of the same, each message's content as `change` gives it (None: left out)."""
    with source.open("rb") as read, target.open("wb") as written:
        reader, writer = make_reader(read), Writer(written)
        writer.start()
        metadata = {record.name: record.metadata for record in reader.iter_metadata()}
        writer.add_metadata(HEAD, metadata[HEAD])
        channels: dict[str, int] = {}
        for _, channel, message in reader.iter_messages(log_time_order=False):
            data = change(channel.topic, message.data)
            if data is not None:
                if channel.topic not in channels:
                    channels[channel.topic] = writer.register_channel(channel.topic, channel.message_encoding, 0)
                writer.add_message(channels[channel.topic], message.log_time, data, message.publish_time)
        writer.add_metadata(END, metadata[END])
        writer.finish()
    return target


def without_predictions(topic: str, data: bytes) -> bytes | None:
    return None if topic == PREDICTIONS else data


def test_replays_equal_the_session_and_one_changed_packet_changes_them(
    talking_clip: Path, operators: LoadedOperators, tmp_path: Path
) -> None:
    live = record(talking_clip, tmp_path / "a.mcap", operators)
    bare = rewrite(tmp_path / "a.mcap", tmp_path / "b.mcap", without_predictions)
    assert list(Recording(bare).predictions()) == []
    assert digest(Replay(Recording(bare), operators)) == live
    arrivals: list[int] = []
    assert digest(Replay(Recording(bare), operators, pace=lambda ns: arrivals.append(ns) is None)) == live
    assert arrivals == sorted(arrivals)

    louder = rewrite(bare, tmp_path / "c.mcap", changes_one_chunk())
    assert digest(Replay(Recording(louder), operators)) != live


def changes_one_chunk() -> Callable[[str, bytes], bytes]:
    """Takes one second from somebody's speech: the packets of one message are said to be a gap."""
    seen = {"door": 0}

    def change(topic: str, data: bytes) -> bytes:
        if topic != DOOR:
            return data
        seen["door"] += 1
        return data if seen["door"] != 6 else encode_entries([filled(a) for a in decode_entries(data, EverySound())])

    def filled(arrived: Arrived) -> Arrived:
        entry = arrived.entry
        if isinstance(entry, AudioChunk):
            entry = msgspec.structs.replace(entry, filled=True)
        return Arrived(arrived.arrival_ns, entry)

    return change


class EverySound(Sounds):
    def take(self, stream: str, count: int):
        import numpy as np

        return np.zeros(count, np.int16)


def test_the_media_give_the_same_again(talking_clip: Path, operators: LoadedOperators, tmp_path: Path) -> None:
    live = record(talking_clip, tmp_path / "a.mcap", operators)
    with rerun_session(Recording(tmp_path / "a.mcap"), operators) as session:
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
    talking_clip: Path, operators: LoadedOperators, tmp_path: Path
) -> None:
    live = record(talking_clip, tmp_path / "a.mcap", operators)
    assert record(talking_clip, tmp_path / "b.mcap", operators, predict=False) == digest([])
    assert digest(Replay(Recording(tmp_path / "b.mcap"), operators)) == live


@pytest.mark.parametrize(("clip", "kind"), [("obama_speech.mp4", "video/mp4"), ("bbaf2n.mpg", "video/webm")])
def test_a_report_plays_the_recorded_media_on_session_time(
    clip: str, kind: str, shared_data: Path, operators: LoadedOperators, tmp_path: Path
) -> None:
    record(shared_data / "clips" / clip, tmp_path / "a.mcap", operators, predict=False)
    content, recording = content_of(tmp_path / "a.mcap")
    assert recording is not None
    media = playable(recording)
    assert media is not None
    assert media.media_type == kind
    (tmp_path / "media").write_bytes(media.content)
    original, again = MediaSource(str(shared_data / "clips" / clip)), MediaSource(str(tmp_path / "media"))
    frames, same = ([i.start_ns for i in items(source) if isinstance(i, VideoFrame)] for source in (original, again))
    assert len(same) == pytest.approx(len(frames), abs=1)
    assert np.abs(np.array(frames[: len(same)]) - np.array(same[: len(frames)])).max() <= 2_000_000
    assert content.seconds == pytest.approx(original.position_ns / 1e9, abs=0.2)


def items(source: MediaSource) -> Iterator[Item]:
    while not source.ended:
        yield from source.read()
