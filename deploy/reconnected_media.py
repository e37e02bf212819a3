"""The media of a live source that was connected anew: the recorded media of each connection, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from deploy.recorded_media import source_of
from stream.errors import RecordingError
from stream.recording.reader import Recording
from stream.recording.schemas import MediaHead, MediaPacket
from stream.sources.media import MediaSource
from stream.sources.readable import SourceStream
from stream.timeline.packets import Bound, EpochStart, Item, Packet, StreamActive, StreamEnd, StreamIdle


class ReconnectedMedia:
    """A readable source: each connection begins a source epoch, where it was made in the session or behind what is there.

    Raises `RecordingError` where no media were recorded, or can't be decoded again. What a ring has forgotten is left out.
    """

    def __init__(self, recording: Recording) -> None:
        head = recording.media_head
        self._heads: dict[int, tuple[MediaHead, int]] = {} if head is None else {0: (head, 0)}
        self._heads |= {each.part: (each.head, each.at_ns) for each in recording.reconnections()}
        self._packets = recording.media()
        self._next: MediaPacket | None = next(self._packets, None)
        self.dropped: dict[str, int] = {}
        self.duration_ns: int | None = None
        self.position_ns = self.compressed_bytes = 0
        self.ended = False
        self.cut: str | None = None
        self._epoch = self._newest_epoch = self._shift_ns = 0
        self._source = self._opened()
        self.streams: tuple[SourceStream, ...] = self._source.streams
        self.notices = self._source.notices

    def read(self) -> list[Item]:
        """The next items of the connection under way, on the session's timeline."""
        if self.ended:
            return []
        items = [self._placed(item) for item in self._source.read()]
        self.compressed_bytes = self._source.compressed_bytes
        self.position_ns = max(self.position_ns, self._source.position_ns + self._shift_ns)
        if not self._source.ended:
            return items
        self._leave()
        if self._next is None:
            self.ended = True
            return items
        self._source = self._opened()
        names = tuple(stream.name for stream in self.streams if stream in self._source.streams)
        start = EpochStart(streams=names, epoch=self._epoch, at_ns=self._shift_ns)
        return [*(item for item in items if not isinstance(item, StreamEnd) or item.stream not in names), start]

    def close(self) -> None:
        """Closes the connection under way."""
        self._source.close()

    def _opened(self) -> MediaSource:
        """The connection of the next packet."""
        if self._next is None or self._next.part not in self._heads:
            raise RecordingError(
                "the recording", found="no media in it", expected="media", fix="replay it without --from-media"
            )
        head, at_ns = self._heads[self._next.part]
        self._shift_ns = max(self.position_ns, at_ns) if self._next.part else 0
        return source_of(head, self._part(self._next.part))

    def _part(self, part: int) -> Iterator[MediaPacket]:
        """The packets of one connection."""
        while self._next is not None and self._next.part == part:
            yield self._next
            self._next = next(self._packets, None)

    def _leave(self) -> None:
        """One connection is over: what it had to say stays, the next begins an epoch."""
        self.notices = tuple(dict.fromkeys((*self.notices, *self._source.notices)))
        for name, count in self._source.dropped.items():
            self.dropped[name] = self.dropped.get(name, 0) + count
        self.cut = self.cut or self._source.cut
        self._source.close()
        self._epoch = self._newest_epoch = self._newest_epoch + 1

    def _placed(self, item: Item) -> Item:
        """An item of a connection in the session."""
        by_ns, epoch = self._shift_ns, self._epoch
        if isinstance(item, Packet):
            return msgspec.structs.replace(
                item, start_ns=item.start_ns + by_ns, end_ns=item.end_ns + by_ns, epoch=item.epoch + epoch
            )
        if isinstance(item, Bound):
            return msgspec.structs.replace(item, bound_ns=item.bound_ns + by_ns)
        if isinstance(item, EpochStart):
            self._newest_epoch = item.epoch + epoch
            return msgspec.structs.replace(item, at_ns=item.at_ns + by_ns, epoch=item.epoch + epoch)
        assert isinstance(item, StreamIdle | StreamActive | StreamEnd)
        return msgspec.structs.replace(item, at_ns=item.at_ns + by_ns)
