"""The live door: from packets as live sources give them to the aligner's items, in order, with idleness, ends and epochs.

A function of the calls in their order; no clock is read. docs/timeline.md, section 11, has its rules. In use:

    door = LiveDoor([LiveStream(name="video", modality=Modality.VIDEO, device="camera"),
                     LiveStream(name="words", modality=Modality.TEXT)])
    given = door.push("video", sequence, stamp_ns, length_ns, make, arrival_ns)
    given = door.advance(now_ns)               # whenever `next_deadline_ns` has come; more often changes nothing
    given = door.observe_offset("camera", stamp_ns, offset_ns, uncertainty_ns, arrival_ns)  # of a device that is two_way
    given = door.end("video", arrival_ns)      # a push after it is a reconnect: a new source epoch
    given = door.close(now_ns)
    for item, arrival_ns, uncertainty_ns in given:
        aligner.push(item, arrival_ns)

`make` is called once, with the packet's `Place`, when its turn has come: it builds the packet, or, for one that was
dropped by policy, the `Bound` of its start. It is not called for a packet that is refused (counted in `refused`).
Arrivals are the session's monotonic time; calls are in order of arrival over all streams, and `advance` is called only
with a time before which nothing waits to be pushed: then nothing becomes idle only because we are behind. Stream operators
stand between the door and the aligner.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from stream.errors import SettingsError, TimelineError
from stream.timeline.clock_settings import ClockSettings, Latency
from stream.timeline.live_device import Converted, Damaged, LiveDevice, Make, Place, Stamped
from stream.timeline.live_source import LiveSource, LiveStream
from stream.timeline.offset_device import OffsetDevice
from stream.timeline.packets import EpochStart, Item, StreamActive, StreamEnd, StreamIdle
from stream.timeline.time import NS_PER_MS
from stream.timeline.watermark import NEVER_NS

__all__ = ["DoorItem", "LiveDoor", "LiveSettings", "LiveStream", "Make", "Place"]


class LiveSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of the live door."""

    clock: ClockSettings = ClockSettings()
    idle_after_ns: int = 1_500 * NS_PER_MS
    """A source that gave nothing for so long, while another one did, is not waited for; that of `TimelineSettings`."""

    def __post_init__(self) -> None:
        if self.idle_after_ns <= 0:
            raise SettingsError("setting idle_after_ns", found=self.idle_after_ns, expected="a positive number of nanoseconds")


class DoorItem(NamedTuple):
    """What the aligner is to be pushed, when, and how uncertain (half-width) a packet's place is."""

    item: Item
    arrival_ns: int
    uncertainty_ns: int = 0


class LiveDoor:
    """Puts the packets of live streams in session time and in order; says when streams are idle, end and begin anew."""

    def __init__(
        self,
        streams: Sequence[LiveStream],
        settings: LiveSettings = LiveSettings(),  # noqa: B008 - immutable
        *,
        latencies: Mapping[str, Latency] | None = None,
        two_way: Collection[str] = (),
        start_ns: int = 0,
    ) -> None:
        """`latencies` are those of devices by name; `start_ns` is the arrival time from which streams are waited for.

        Devices that are `two_way` are asked for their time (`observe_offset`), and arrivals say nothing of their clocks.
        """
        self._settings = settings
        names = dict.fromkeys(stream.device for stream in streams if stream.device is not None)
        known = latencies or {}
        self._devices: dict[str, LiveDevice | OffsetDevice] = {
            name: (OffsetDevice if name in two_way else LiveDevice)(known.get(name, Latency()), settings.clock)
            for name in names
        }
        self._sources: dict[str, LiveSource] = {}
        for stream in streams:
            if stream.name in self._sources:
                raise TimelineError("declared stream", found=f"{stream.name!r} twice", expected="each name once")
            device = None if stream.device is None else self._devices[stream.device]
            self._sources[stream.name] = LiveSource(stream, device, start_ns)
        self.refused = dict.fromkeys(self._sources, 0)
        """By stream, how many packets were refused: behind their stream's bound, or with a stamp that nothing bore out."""
        self._now_ns = start_ns
        self._epoch = 0
        self._reference_ns = NEVER_NS
        self._given: list[DoorItem] = []

    @property
    def next_deadline_ns(self) -> int | None:
        """The arrival time at which something becomes due without a packet; None where nothing will."""
        due = self._next_due()
        return None if due is None else max(due[0], self._now_ns)

    @property
    def waiting(self) -> int:
        """How many packets are held: pushed, and neither given nor refused."""
        queued = sum(source.waiting for source in self._sources.values())
        return queued + sum(device.waiting for device in self._devices.values())

    def uncertainty_ns(self, stream: str) -> int:
        """The uncertainty that was stated for the newest packet given of a stream; 0 for session time."""
        return self._source(stream).uncertainty_ns

    def push(self, stream: str, sequence: int, stamp_ns: int, length_ns: int, make: Make, arrival_ns: int) -> list[DoorItem]:
        """Takes a packet stamped at its start; `sequence` counts a stream's packets from 0 in the order of their capture.

        Raises `TimelineError` for a stream that is not declared, a negative length, an arrival that goes back.
        """
        source = self._source(stream)
        if length_ns < 0:
            raise TimelineError(f"length of packet {sequence} of stream {stream!r}", found=length_ns, expected="0 ns or more")
        self._fire(arrival_ns)
        if source.ended:
            self._revive(source)
        if source.idle:
            source.idle, source.alive_ns = False, arrival_ns
            self._give(StreamActive(stream=stream, at_ns=arrival_ns))
        packet = Stamped(stream, sequence, stamp_ns, length_ns, make, arrival_ns)
        if source.device is not None:
            self._take(source.device.take(packet))
        else:
            self._take([Converted(packet, 0, stamp_ns, packet.end_ns, 0)])
        for other in self._sources.values():
            if self._falls_idle(other, arrival_ns):
                other.idle = True
                self._give(StreamIdle(stream=other.name, at_ns=arrival_ns))
        self._move_reference()
        return self._taken()

    def observe_offset(
        self, device: str, stamp_ns: int, offset_ns: int, uncertainty_ns: int, arrival_ns: int
    ) -> list[DoorItem]:
        """Takes the answer of a `two_way` device: session time less its own at `stamp_ns`, true within `uncertainty_ns`.

        Raises `TimelineError` for another device, an arrival that goes back.
        """
        asked = self._devices.get(device)
        if not isinstance(asked, OffsetDevice):
            raise TimelineError("offset of a clock", found=repr(device), expected="a device that is two_way", fix="declare it")
        self._fire(arrival_ns)
        self._take(asked.observe_offset(stamp_ns, offset_ns, uncertainty_ns))
        self._move_reference()
        return self._taken()

    def end(self, stream: str, arrival_ns: int) -> list[DoorItem]:
        """A stream has ended: what waits of it is given, then its end."""
        source = self._source(stream)
        self._fire(arrival_ns)
        if not source.ended:
            if source.device is not None:
                self._take(source.device.finish(stream))
            self._release(source, everything=True)
            self._give(StreamEnd(stream=stream, at_ns=source.end()))
        return self._taken()

    def advance(self, now_ns: int) -> list[DoorItem]:
        """Gives what has become due up to `now_ns`, each as if called exactly then."""
        self._fire(now_ns)
        return self._taken()

    def close(self, now_ns: int) -> list[DoorItem]:
        """Ends every stream, in the order of declaration."""
        return [item for stream in self._sources for item in self.end(stream, now_ns)]

    def _fire(self, now_ns: int) -> None:
        if now_ns < self._now_ns:
            raise TimelineError("arrival", found=f"{now_ns} ns", expected=f"at least {self._now_ns} ns, the one before")
        while (due := self._next_due()) is not None and due[0] <= now_ns:
            deadline_ns, what = due
            self._now_ns = max(self._now_ns, deadline_ns)
            if isinstance(what, LiveSource):
                self._release(what)
            else:
                self._take(what.advance(self._now_ns))
            self._move_reference()
        self._now_ns = now_ns

    def _next_due(self) -> tuple[int, LiveDevice | OffsetDevice | LiveSource] | None:
        """What becomes due first, ties in the order of declaration: a device's waiting, a stream's order."""
        first: tuple[int, LiveDevice | OffsetDevice | LiveSource] | None = None
        for device in self._devices.values():
            at_ns = device.next_deadline_ns
            if at_ns is not None and (first is None or at_ns < first[0]):
                first = at_ns, device
        for source in self._sources.values():
            at_ns = source.next_release_ns
            if at_ns is not None and (first is None or at_ns < first[0]):
                first = at_ns, source
        return first

    def _falls_idle(self, source: LiveSource, arrival_ns: int) -> bool:
        """Whether it has given nothing for long, now that another one has, and nothing of it waits here."""
        quiet = source.waited_for and arrival_ns - source.alive_ns >= self._settings.idle_after_ns
        return quiet and not source.holds

    def _take(self, decided: Sequence[Converted | Damaged]) -> None:
        """Queues what has been decided, and gives what is in order."""
        known, new = list[Converted](), list[Converted]()
        for each in decided:
            source = self._sources[each.packet.stream]
            if isinstance(each, Damaged):
                self.refused[source.name] += 1
            else:
                (new if each.turn > source.turn else known).append(each)
        self._queue(known)
        if new:
            self._begin_epoch(new)
            self._queue(new)

    def _queue(self, converted: Sequence[Converted]) -> None:
        for each in converted:
            self._sources[each.packet.stream].enqueue(each)
        for name in dict.fromkeys(each.packet.stream for each in converted):
            self._release(self._sources[name])

    def _release(self, source: LiveSource, *, everything: bool = False) -> None:
        for converted in source.release(self._now_ns, everything=everything):
            place = source.place(converted)
            if place is None:
                self.refused[source.name] += 1
            else:
                source.alive_ns = self._now_ns
                self._given.append(DoorItem(converted.packet.make(place), self._now_ns, place.uncertainty_ns))

    def _revive(self, source: LiveSource) -> None:
        """A stream that had ended goes on: connected anew, so its clock may be another one."""
        device = source.device
        if device is not None and all(s.ended for s in self._sources.values() if s.device is device):
            device.restart()
        source.revive()
        source.alive_ns = self._now_ns

    def _begin_epoch(self, new: Sequence[Converted]) -> None:
        """The streams of a device whose clock was reset, or one that was connected anew, begin a source epoch."""
        first = self._sources[new[0].packet.stream]
        turn, device = new[0].turn, first.device
        siblings = [first] if device is None else [s for s in self._sources.values() if s.device is device]
        restarted = [source for source in siblings if not source.ended and source.turn < turn]
        for source in restarted:
            self._release(source, everything=True)
        self._epoch += 1
        at_ns = self._epoch_begins_ns(restarted, min(each.start_ns for each in new))
        self._give(EpochStart(streams=tuple(s.name for s in restarted), epoch=self._epoch, at_ns=at_ns))
        for source in restarted:
            source.begin(self._epoch, turn, at_ns)
            if source.idle:  # for the aligner a new epoch ends idleness
                self._give(StreamIdle(stream=source.name, at_ns=self._now_ns))

    def _epoch_begins_ns(self, restarted: Sequence[LiveSource], first_ns: int) -> int:
        """Where the timeline stands, so that no hole is cut into what others have; `first_ns` after a gap that all share."""
        self._move_reference()
        stands = [s.bound_ns for s in self._sources.values() if s.waited_for and not s.is_text and s not in restarted]
        if stands:
            stands.append(self._reference_ns)
        for source in restarted:
            was_connected = source.turn >= 0 and first_ns - source.bound_ns <= self._settings.idle_after_ns
            stands.append(source.bound_ns if was_connected else first_ns)
        return max(0, min(stands))

    def _move_reference(self) -> None:
        """The aligner's R, as far as source streams make it."""
        waited_for = [s.bound_ns for s in self._sources.values() if s.waited_for and not s.is_text]
        self._reference_ns = max(self._reference_ns, min(waited_for, default=NEVER_NS))

    def _give(self, item: Item) -> None:
        self._given.append(DoorItem(item, self._now_ns))

    def _taken(self) -> list[DoorItem]:
        given, self._given = self._given, []
        return given

    def _source(self, name: str) -> LiveSource:
        try:
            return self._sources[name]
        except KeyError:
            raise TimelineError(
                "stream of a live packet", found=repr(name), expected=f"one of {', '.join(self._sources)}", fix="declare it"
            ) from None
