"""Entries of the door and media packets, gathered into few messages: one a packet would cost more than its content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from stream.prediction import Prediction, encode
from stream.recording import foxglove
from stream.recording.entries import Arrived, Closed, encode_entries
from stream.recording.schemas import (
    AFFECT,
    CLOCKS,
    DOOR,
    MEDIA,
    PICTURE,
    PREDICTIONS,
    RECONNECTED,
    SOUND,
    SPEECH,
    ClockObservation,
    MediaPacket,
    Reconnected,
    RecordedMessage,
)
from stream.timeline.packets import AudioChunk, SpeechActivity
from stream.timeline.time import NS_PER_MS

GATHERED_NS: Final = 500 * NS_PER_MS
"""Arrivals that go into one message of the door: a crash loses as much of what had been handed over."""
GATHERED_BYTES: Final = 256 << 10
"""Compressed media that goes into one message."""

Batch = list[RecordedMessage]
"""Messages that belong together: the sound of a stretch, and the entries that mean it."""


class MessageMaker:
    """Turns what a session hands over into batches of messages; owned by one caller, holds at most one batch of each kind.

    `origin_ns` is the wall clock of session time zero, for the time stamps inside of messages.
    """

    def __init__(self, origin_ns: int = 0) -> None:
        self._origin_ns = origin_ns
        self._entries: list[Arrived] = []
        self._media: list[MediaPacket] = []
        self._media_bytes = 0
        self._media_ns = 0
        self._clocks: list[ClockObservation] = []

    def entry(self, arrived: Arrived) -> list[Batch]:
        """One entry more of the door; the batch that is complete with it, if one is."""
        batches = []
        if self._entries and arrived.arrival_ns - self._entries[0].arrival_ns >= GATHERED_NS:
            batches.append(self._door())
        self._entries.append(arrived)
        if isinstance(arrived.entry, Closed):
            batches.append(self._door())
        return batches

    def media(self, packet: MediaPacket, at_ns: int) -> list[Batch]:
        """One compressed packet more, read at `at_ns` of session time; the batch that is complete with it."""
        self._media.append(packet)
        self._media_bytes += len(packet.data or b"")
        self._media_ns = max(self._media_ns, at_ns)
        return [self._packets()] if self._media_bytes >= GATHERED_BYTES else []

    def reconnected(self, reconnected: Reconnected) -> list[Batch]:
        """A live source was connected anew: the packets from before, then what decodes those that follow."""
        batches = [self._packets()] if self._media else []
        return [*batches, [RecordedMessage(RECONNECTED, reconnected.at_ns, msgspec.msgpack.encode(reconnected))]]

    def picture(self, stream: str, at_ns: int, jpeg: bytes) -> Batch:
        """A small picture for people to look at."""
        data = foxglove.compressed_image(jpeg, stream, self._origin_ns + at_ns)
        return [RecordedMessage(PICTURE + stream, at_ns, data)]

    def clocks(self, observations: Sequence[ClockObservation]) -> list[Batch]:
        """What was observed of the clocks of live devices; the batch that is complete with it."""
        self._clocks += observations
        first_ns, last_ns = self._clocks[0].arrival_ns, self._clocks[-1].arrival_ns
        return [self._observed()] if last_ns - first_ns >= GATHERED_NS else []

    def prediction(self, prediction: Prediction) -> Batch:
        """A prediction, and its numbers for the plots once it is final."""
        at_ns = prediction.result.end_ns
        messages = [RecordedMessage(PREDICTIONS, at_ns, encode(prediction))]
        if prediction.result.status != "provisional":
            messages.append(RecordedMessage(AFFECT, at_ns, foxglove.affect_plot(prediction)))
        return messages

    def rest(self) -> list[Batch]:
        """What has been gathered and is not complete."""
        batches = [self._packets()] if self._media else []
        if self._clocks:
            batches.append(self._observed())
        return [*batches, self._door()] if self._entries else batches

    def _observed(self) -> Batch:
        observations, self._clocks = self._clocks, []
        body = {"observations": [seen._asdict() for seen in observations]}
        return [RecordedMessage(CLOCKS, observations[0].arrival_ns, msgspec.json.encode(body))]

    def _packets(self) -> Batch:
        packets, self._media, self._media_bytes = self._media, [], 0
        return [RecordedMessage(MEDIA, self._media_ns, msgspec.msgpack.encode(packets))]

    def _door(self) -> Batch:
        entries, self._entries = self._entries, []
        at_ns = max(0, entries[0].arrival_ns)
        messages = []
        chunks: dict[str, list[AudioChunk]] = {}
        for arrived in entries:
            if isinstance(arrived.entry, AudioChunk):
                chunks.setdefault(arrived.entry.stream, []).append(arrived.entry)
            elif isinstance(arrived.entry, SpeechActivity):
                plot = foxglove.speech_plot(arrived.entry.probability)
                messages.append(RecordedMessage(SPEECH, arrived.entry.start_ns, plot))
        for stream, heard in chunks.items():
            samples = np.concatenate([chunk.samples for chunk in heard])
            start_ns = heard[0].start_ns
            audio = foxglove.raw_audio(samples, self._origin_ns + start_ns)
            messages.append(RecordedMessage(SOUND + stream, start_ns, audio))
        return [*messages, RecordedMessage(DOOR, at_ns, encode_entries(entries))]
