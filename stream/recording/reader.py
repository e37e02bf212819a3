"""A recording as it is read: in order, to its end or to where it is cut."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from mcap.records import Attachment, Channel, Footer, McapRecord, Message, Metadata

from stream.errors import PublishingError, RecordingError
from stream.prediction import Prediction, decode
from stream.recording.entries import Arrived, Sounds, decode_entries
from stream.recording.foxglove import samples_of
from stream.recording.schemas import (
    DOOR,
    END,
    HEAD,
    MEDIA,
    MEDIA_HEAD,
    PREDICTIONS,
    RECONNECTED,
    RECORDING_VERSION,
    SOUND,
    TRANSCRIPT,
    MediaHead,
    MediaPacket,
    Reconnected,
    RecordedMessage,
    RecordingEnd,
    RecordingHead,
)
from stream.recording.unpacking import CutError, records

Content = TypeVar("Content")


class Recording:
    """A recording in a file. Its head is read at once; each iteration reads the file anew, to its end or to its cut.

    After an iteration, `end` is what the recording ends with, and `cut` one line where it is not complete: the file was
    cut or damaged, and what came before was given. Raises `RecordingError` for what is no recording of this version.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._name = f"recording {path}"
        self.cut: str | None = None
        self.end: RecordingEnd | None = None
        self.transcript: bytes | None = None
        self.media_head: MediaHead | None = None
        self.head = self._open()

    def messages(self, *topics: str) -> Iterator[RecordedMessage]:
        """The messages whose topic begins with one of `topics`, in the order in which they were written."""
        known: dict[int, str] = {}
        for record in self._records():
            if isinstance(record, Channel):
                known[record.id] = record.topic
            elif isinstance(record, Message):
                topic = known.get(record.channel_id, "")
                if topic.startswith(topics):
                    yield RecordedMessage(topic, record.log_time - self.head.origin_ns, record.data)

    def arrived(self) -> Iterator[Arrived]:
        """The entries of the aligner's door, in order."""
        sounds = Sounds()
        for message in self.messages(DOOR, SOUND):
            if message.topic == DOOR:
                yield from decode_entries(message.data, sounds)
            else:
                sounds.add(message.topic.removeprefix(SOUND), samples_of(message.data))

    def media(self) -> Iterator[MediaPacket]:
        """The compressed packets, in reading order."""
        for message in self.messages(MEDIA):
            yield from self._decoded(_media, message.data, "recorded media")

    def reconnections(self) -> Iterator[Reconnected]:
        """Each time that a live source was connected anew, with what decodes its media from there on."""
        for message in self.messages(RECONNECTED):
            yield self._decoded(_reconnected, message.data, "a reconnection")

    def predictions(self) -> Iterator[Prediction]:
        """The predictions that were recorded, in the order in which they were given."""
        for message in self.messages(PREDICTIONS):
            try:
                yield decode(message.data)
            except PublishingError as error:
                raise RecordingError(self._name, found=str(error)) from error

    def _open(self) -> RecordingHead:
        """The head, and the attachments that follow it."""
        head: RecordingHead | None = None
        for record in self._records():
            if isinstance(record, Metadata) and record.name == HEAD:
                head = self._head(record)
            elif isinstance(record, Attachment) and record.name == TRANSCRIPT:
                self.transcript = record.data
            elif isinstance(record, Attachment) and record.name == MEDIA_HEAD:
                self.media_head = self._decoded(_media_head, record.data, "the head of recorded media")
            elif isinstance(record, Message):
                break
        if head is None:
            raise RecordingError(
                self._name, found=self.cut or "no session in it", expected="one that affectstream wrote", fix=_OTHERS
            )
        return head

    def _head(self, record: Metadata) -> RecordingHead:
        text = self._text(record)
        version = self._decoded(_version, text, "the head").version
        if version != RECORDING_VERSION:
            raise RecordingError(self._name, found=f"version {version}", expected=RECORDING_VERSION)
        return self._decoded(_head, text, "the head")

    def _records(self) -> Iterator[McapRecord]:
        self.cut = self.end = None
        try:
            file = self._path.open("rb")
        except OSError as error:
            raise RecordingError(self._name, found=error.strerror, expected="a file", fix="check the path") from error
        with file:
            complete = False
            try:
                for record in records(file, self._name):
                    if isinstance(record, Metadata) and record.name == END:
                        self.end = self._decoded(_end, self._text(record), "the end")
                    complete = isinstance(record, Footer)
                    yield record
            except CutError as error:
                self.cut = f"{self._name} is cut: {error}"
            else:
                if complete and self.end is None:
                    self.cut = f"{self._name} was not finished: no session's end is in it"

    def _text(self, record: Metadata) -> str:
        text = record.metadata.get("json", "")
        if record.metadata.get("crc32") != str(zlib.crc32(text.encode())):
            raise RecordingError(self._name, found=f"{record.name} with a wrong checksum", fix="it is damaged")
        return text

    def _decoded(
        self, decoder: msgspec.json.Decoder[Content] | msgspec.msgpack.Decoder[Content], data: bytes | str, what: str
    ) -> Content:
        try:
            return decoder.decode(data)  # type: ignore[arg-type]
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise RecordingError(f"{self._name}, {what}", found=str(error), expected="what this version writes") from error


class _Versioned(msgspec.Struct):
    version: int


_OTHERS: Final = "affectstream record makes them"
_version: Final = msgspec.json.Decoder(_Versioned)
_head: Final = msgspec.json.Decoder(RecordingHead)
_end: Final = msgspec.json.Decoder(RecordingEnd)
_media_head: Final = msgspec.msgpack.Decoder(MediaHead)
_reconnected: Final = msgspec.msgpack.Decoder(Reconnected)
_media: Final = msgspec.msgpack.Decoder(list[MediaPacket])
