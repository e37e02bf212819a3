from __future__ import annotations

from pathlib import Path

import jsonschema
import msgspec
import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from mcap.reader import make_reader

from stream.errors import RecordingError
from stream.prediction import Prediction, Result, SentimentEstimate
from stream.recording.foxglove import (
    COMPRESSED_IMAGE_SCHEMA,
    RAW_AUDIO_SCHEMA,
    affect_plot,
    compressed_image,
    raw_audio,
    samples_of,
)
from stream.recording.messages import MessageMaker
from stream.recording.schemas import RecordingEnd, RecordingHead
from stream.recording.writer import RecordingWriter

PREDICTION = Prediction(
    result=Result(
        session="s",
        kind="utterance",
        start_ns=2_500_000_000,
        end_ns=4_000_000_000,
        revision=1,
        status="final",
        reason="silence",
        sentiment=SentimentEstimate(value=1.5, low=0.5, high=2.5, level=0.9),
        emotions={"joy": 0.75, "neutral": 0.25},
        valence=0.5,
        arousal=-0.25,
    )
)


def read_by(schema: bytes, name: str, data: bytes):
    """As a viewer reads that has nothing but the file: by the schema in it."""
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(schema).file:
        pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(name)).FromString(data)


def test_sound_and_pictures_are_read_by_the_schemas_in_the_file() -> None:
    sound = read_by(RAW_AUDIO_SCHEMA, "foxglove.RawAudio", raw_audio(np.array([1, -2], np.int16), 3_000_000_004))
    assert (sound.data, sound.format) == (b"\x01\x00\xfe\xff", "pcm-s16")
    assert (sound.sample_rate, sound.number_of_channels) == (16_000, 1)
    assert (sound.timestamp.seconds, sound.timestamp.nanos) == (3, 4)
    picture = read_by(COMPRESSED_IMAGE_SCHEMA, "foxglove.CompressedImage", compressed_image(b"\xff\xd8", "camera", 0))
    assert (picture.data, picture.format, picture.frame_id) == (b"\xff\xd8", "jpeg", "camera")


@pytest.mark.parametrize("data", [b"\xff", b"", raw_audio(np.zeros(2, np.int16), 0).replace(b"pcm-s16", b"pcm-s32")])
def test_other_sound_is_refused(data: bytes) -> None:
    with pytest.raises(RecordingError, match="recorded sound"):
        samples_of(data)


def test_numbers_are_plotted_flat() -> None:
    assert msgspec.json.decode(affect_plot(PREDICTION)) == {
        "start_s": 2.5,
        "sentiment": 1.5,
        "sentiment_low": 0.5,
        "sentiment_high": 2.5,
        "valence": 0.5,
        "arousal": -0.25,
        "joy": 0.75,
        "neutral": 0.25,
    }


def test_predictions_follow_the_schemas_of_their_channels(head: RecordingHead, tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "a.mcap", head) as writer:
        writer.write(MessageMaker().prediction(PREDICTION))
        writer.finish(RecordingEnd(complete=True, dispositions={}))
    topics = []
    with (tmp_path / "a.mcap").open("rb") as file:
        for schema, channel, message in make_reader(file).iter_messages():
            assert schema is not None
            described = msgspec.json.decode(schema.data)
            assert described["type"] == "object"
            jsonschema.validate(msgspec.json.decode(message.data), described)
            topics.append(channel.topic)
    assert sorted(topics) == ["/affect", "/predictions"]
