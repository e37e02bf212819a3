"""Sound, pictures and numbers in the schemas that Foxglove and other viewers of MCAP know."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.RawAudio_pb2 import RawAudio
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import DecodeError

from stream.errors import RecordingError
from stream.prediction import Prediction
from stream.recording.schemas import plot_schema
from stream.timeline.time import NS_PER_SECOND, SAMPLE_RATE

SPEECH_SCHEMA: Final = plot_schema("What the voice detector hears.", probability="probability of speech, 0 to 1")
AFFECT_SCHEMA: Final = plot_schema(
    "The numbers of a prediction that is not provisional, logged at its end.",
    start_s="start of the segment, seconds of session time",
    sentiment="-3 to 3",
    sentiment_low="lower end of its interval",
    sentiment_high="upper end of its interval",
    valence="-1 to 1",
    arousal="-1 to 1",
) | {"additionalProperties": {"type": "number"}}


def raw_audio(samples: np.ndarray, at_ns: int) -> bytes:
    """foxglove.RawAudio of int16 (n,) samples at 16 kHz that begin at `at_ns` (wall clock or session time)."""
    message = RawAudio(data=samples.astype("<i2").tobytes(), format="pcm-s16", sample_rate=SAMPLE_RATE, number_of_channels=1)
    message.timestamp.seconds, message.timestamp.nanos = divmod(max(0, at_ns), NS_PER_SECOND)
    return bytes(message.SerializeToString())


def samples_of(data: bytes) -> np.ndarray:
    """The int16 (n,) samples of a foxglove.RawAudio. Raises `RecordingError` for any other sound."""
    message = RawAudio()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise RecordingError("recorded sound", found=str(error), expected="foxglove.RawAudio") from error
    found = (message.format, message.sample_rate, message.number_of_channels, len(message.data) % 2)
    if found != ("pcm-s16", SAMPLE_RATE, 1, 0):
        raise RecordingError("recorded sound", found=found, expected=f"pcm-s16, {SAMPLE_RATE}, 1 channel")
    return np.frombuffer(message.data, "<i2")


def compressed_image(jpeg: bytes, stream: str, at_ns: int) -> bytes:
    """foxglove.CompressedImage of a JPEG picture."""
    message = CompressedImage(data=jpeg, format="jpeg", frame_id=stream)
    message.timestamp.seconds, message.timestamp.nanos = divmod(max(0, at_ns), NS_PER_SECOND)
    return bytes(message.SerializeToString())


def speech_plot(probability: float) -> bytes:
    """A message of the voice detector's plot."""
    return msgspec.json.encode({"probability": probability})


def affect_plot(prediction: Prediction) -> bytes:
    """A message of the affect plot: numbers alone, emotions by their names."""
    result = prediction.result
    numbers: dict[str, Any] = {"start_s": result.start_ns / NS_PER_SECOND, "valence": result.valence, "arousal": result.arousal}
    if result.sentiment is not None:
        said = result.sentiment
        numbers |= {"sentiment": said.value, "sentiment_low": said.low, "sentiment_high": said.high}
    numbers |= {name: share for name, share in (result.emotions or {}).items() if name not in numbers}
    return msgspec.json.encode({name: value for name, value in numbers.items() if value is not None})


def descriptor_set(message: Any) -> bytes:
    """A Protobuf message's file and those that it imports, as MCAP wants them."""
    files = FileDescriptorSet()
    seen: set[str] = set()

    def add(file: FileDescriptor) -> None:
        if file.name not in seen:
            seen.add(file.name)
            for dependency in file.dependencies:
                add(dependency)
            file.CopyToProto(files.file.add())

    add(message.DESCRIPTOR.file)
    return bytes(files.SerializeToString())


RAW_AUDIO_SCHEMA: Final = descriptor_set(RawAudio)
COMPRESSED_IMAGE_SCHEMA: Final = descriptor_set(CompressedImage)
