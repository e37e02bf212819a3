"""Recordings for tests: written anew with something left out or changed, and what predictions come to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import numpy as np
from mcap.reader import make_reader
from mcap.writer import Writer

from stream.prediction import Prediction
from stream.recording.entries import Arrived, Sounds, decode_entries, encode_entries
from stream.recording.schemas import DOOR, END, HEAD, PREDICTIONS
from stream.timeline.packets import AudioChunk


def digest(predictions: Iterable[Prediction]) -> str:
    return hashlib.sha256(b"\n".join(msgspec.json.encode(p.result) for p in predictions)).hexdigest()


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
    """Silence, as much as is asked for."""

    def take(self, stream: str, count: int) -> np.ndarray:
        return np.zeros(count, np.int16)
