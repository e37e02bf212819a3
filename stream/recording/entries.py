"""What passes the aligner's door, as bytes and back: items, and what the session tells the aligner besides them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from stream.errors import RecordingError
from stream.timeline.dispositions import DropReason
from stream.timeline.packets import (
    AudioChunk,
    Bound,
    EpochStart,
    Faces,
    Item,
    Modality,
    Packet,
    SpeechActivity,
    StreamActive,
    StreamEnd,
    StreamIdle,
    VideoFrame,
    Word,
)
from stream.timeline.segments import Status


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """`count` packets of `stream` came and were dropped before the door."""

    stream: str
    reason: DropReason
    count: int


class Shed(msgspec.Struct, frozen=True, kw_only=True):
    """What was left out of one revision because the pipeline was behind; `silent`: it got no prediction at all.

    Stands after the entry that made the revision due.
    """

    source_epoch: int
    lane: str
    start_ns: int
    number: int
    status: Status
    modalities: tuple[Modality, ...] = ()
    silent: bool = False


class CaughtUp(msgspec.Struct, frozen=True, kw_only=True):
    """A final that went without words because the pipeline was behind is amended with them; `number` is the final's."""

    source_epoch: int
    lane: str
    start_ns: int
    number: int


class Advanced(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing came, and by now a deadline of the aligner had passed."""


class ClockUncertainty(msgspec.Struct, frozen=True, kw_only=True):
    """From here on the clocks of the devices are uncertain by so much (half-width)."""

    uncertainty_ns: int


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing came any more: the aligner was closed."""


Entry = Item | Dropped | Shed | CaughtUp | Advanced | ClockUncertainty | Closed
"""What is recorded of the door, in order."""


class Arrived(NamedTuple):
    """An entry and its arrival, in the nanoseconds of the session."""

    arrival_ns: int
    entry: Entry


class NoPicture:
    """The picture of a recorded frame: it never leaves the process that decoded it."""

    width = 0
    height = 0

    def rgb(self, width: int, height: int) -> np.ndarray:  # noqa: ARG002 - as a picture has them
        """Raises `RecordingError`: there is none."""
        raise _no_picture()

    def grey(self) -> np.ndarray:
        """Raises `RecordingError`: there is none."""
        raise _no_picture()


class _Frame(msgspec.Struct, frozen=True, kw_only=True):
    stream: str
    epoch: int
    sequence: int
    start_ns: int
    end_ns: int


class _Sound(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk without its samples, of which the next `count` of the stream's sound are meant."""

    stream: str
    epoch: int
    sequence: int
    start_ns: int
    end_ns: int
    first_sample: int
    filled: bool
    count: int


_FORMS: Final[dict[str, type]] = {
    "frame": _Frame,
    "sound": _Sound,
    "faces": Faces,
    "activity": SpeechActivity,
    "word": Word,
    "bound": Bound,
    "idle": StreamIdle,
    "active": StreamActive,
    "end": StreamEnd,
    "epoch": EpochStart,
    "dropped": Dropped,
    "shed": Shed,
    "caught-up": CaughtUp,
    "advanced": Advanced,
    "clock": ClockUncertainty,
    "closed": Closed,
}
_NAMES: Final = {form: name for name, form in _FORMS.items()}
_DTYPES: Final = {"|u1", "<i2", "<i8", "<f4"}
"""Of all arrays that packets hold."""


def encode_entries(arrived: Sequence[Arrived]) -> bytes:
    """Entries in order as MessagePack: a list of [form, arrival, fields]; the samples of chunks are not in it."""
    return _encoder.encode([(_NAMES[type(form)], arrival_ns, form) for arrival_ns, form in _forms(arrived)])


def decode_entries(data: bytes, sound: Sounds) -> list[Arrived]:
    """Entries in order; chunks take their samples from `sound`. Raises `RecordingError` for anything else."""
    try:
        return [Arrived(arrival_ns, _entry(_decode(name, body), sound)) for name, arrival_ns, body in _outer.decode(data)]
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise RecordingError("a recorded entry", found=str(error), expected="one of this version", fix=_DAMAGED) from error


class Sounds:
    """Samples of each audio stream that have been read and whose chunks have not."""

    def __init__(self) -> None:
        self._waiting: dict[str, np.ndarray] = {}

    def add(self, stream: str, samples: np.ndarray) -> None:
        """`samples` int16 (n,) follow those of `stream` before."""
        before = self._waiting.get(stream)
        self._waiting[stream] = samples if before is None or not len(before) else np.concatenate([before, samples])

    def take(self, stream: str, count: int) -> np.ndarray:
        """The next `count` samples of a stream: int16 (count,). Raises `RecordingError` where they are missing."""
        waiting = self._waiting.get(stream, _NO_SAMPLES)
        if not 0 <= count <= len(waiting):
            raise RecordingError(f"sound of {stream!r}", found=f"{len(waiting)} samples", expected=str(count), fix=_DAMAGED)
        self._waiting[stream] = waiting[count:]
        return waiting[:count]


_NO_SAMPLES: Final = np.zeros(0, np.int16)
_DAMAGED: Final = "the recording is damaged"


def _no_picture() -> RecordingError:
    return RecordingError("a recorded frame", found="no picture", fix="rerun the stream operators with --from-media")


def _forms(arrived: Sequence[Arrived]) -> list[tuple[int, Any]]:
    return [(arrival_ns, _form(entry)) for arrival_ns, entry in arrived]


def _form(entry: Entry) -> Any:
    if isinstance(entry, AudioChunk):
        return _Sound(
            stream=entry.stream,
            epoch=entry.epoch,
            sequence=entry.sequence,
            start_ns=entry.start_ns,
            end_ns=entry.end_ns,
            first_sample=entry.first_sample,
            filled=entry.filled,
            count=len(entry.samples),
        )
    if isinstance(entry, VideoFrame):
        return _Frame(**{name: getattr(entry, name) for name in Packet.__struct_fields__})
    return entry


def _entry(form: Any, sound: Sounds) -> Entry:
    if isinstance(form, _Sound):
        return AudioChunk(
            samples=sound.take(form.stream, form.count),
            first_sample=form.first_sample,
            filled=form.filled,
            **{name: getattr(form, name) for name in Packet.__struct_fields__},
        )
    if isinstance(form, _Frame):
        return VideoFrame(image=NoPicture(), **{name: getattr(form, name) for name in Packet.__struct_fields__})
    entry: Entry = form
    return entry


def _decode(name: str, body: msgspec.Raw) -> Any:
    decoder = _decoders.get(name)
    if decoder is None:
        raise RecordingError("a recorded entry", found=f"form {name!r}", expected=", ".join(_FORMS), fix=_DAMAGED)
    return decoder.decode(body)


def _encode_array(value: Any) -> Any:
    if not isinstance(value, np.ndarray) or value.dtype.str not in _DTYPES:
        raise NotImplementedError(f"{type(value).__name__} can't be recorded")
    return value.dtype.str, value.shape, value.tobytes()


def _decode_array(kind: type, value: Any) -> Any:
    if kind is not np.ndarray:
        raise NotImplementedError(f"{kind.__name__} can't be read")
    array = msgspec.convert(value, _Array, strict=True)
    if array.dtype not in _DTYPES:
        raise msgspec.ValidationError(f"an array of {array.dtype!r}")
    if len(array.data) % np.dtype(array.dtype).itemsize:
        raise msgspec.ValidationError(f"an array of {array.dtype} in {len(array.data)} bytes")
    samples = np.frombuffer(array.data, array.dtype)
    if min(array.shape, default=1) < 0 or int(np.prod(array.shape, dtype=object)) != len(samples):
        raise msgspec.ValidationError(f"an array of shape {array.shape} in {len(array.data)} bytes")
    return samples.reshape(array.shape)


class _Array(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    data: bytes


_encoder: Final = msgspec.msgpack.Encoder(enc_hook=_encode_array)
_outer: Final = msgspec.msgpack.Decoder(list[tuple[str, int, msgspec.Raw]])
_decoders: Final[dict[str, msgspec.msgpack.Decoder[Any]]] = {
    name: msgspec.msgpack.Decoder(form, dec_hook=_decode_array) for name, form in _FORMS.items()
}
