"""Streams as the aligner sees them: declared, their states and bounds, and the marks that follow from all bounds together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from stream.errors import TimelineError
from stream.timeline.packets import EpochStart, Modality, Packet, StreamActive, StreamIdle
from stream.timeline.segments import Absence

NEVER_NS: Final = -(1 << 62)
"""Minus infinity: the bound of a stream that has promised nothing."""
FOREVER_NS: Final = 1 << 62
"""Plus infinity: the smallest bound over no streams."""


class StreamDeclaration(msgspec.Struct, frozen=True, kw_only=True):
    """A stream of the session; `source` names the source stream that it is derived from, None for a source stream."""

    name: str
    modality: Modality
    source: str | None = None


class StreamState:
    """One declared stream: its bound, its newest epoch, and whether anybody waits for it."""

    __slots__ = ("bound_ns", "ended", "epoch", "idle", "modality", "name", "source", "started")

    def __init__(self, declaration: StreamDeclaration) -> None:
        self.name = declaration.name
        self.modality = declaration.modality
        self.source = declaration.source or declaration.name
        self.bound_ns = NEVER_NS
        self.epoch = 0
        self.started = False
        self.idle = False
        self.ended = False

    @property
    def is_source(self) -> bool:
        """Whether nothing stands before it: it is its own source."""
        return self.source == self.name

    @property
    def waited_for(self) -> bool:
        """Whether decisions wait for this stream: it is neither idle nor ended."""
        return not (self.idle or self.ended)

    @property
    def absence(self) -> Absence:
        """Why it has nothing where it has nothing."""
        if self.ended:
            return "ended"
        if self.idle:
            return "idle"
        return "nothing-there" if self.started else "not-started"

    def refuses(self, packet: Packet) -> bool:
        """Whether a packet breaks this stream's promise, comes after its end, or is of an epoch gone by."""
        return packet.start_ns < self.bound_ns or packet.epoch != self.epoch or self.ended


class Watermarks:
    """All declared streams, and four marks over their bounds that the decisions of the timeline hang on.

    `reference_ns` (R) drives the lane where no voice activity does; `data_ns` is how far everything but text has come,
    `text_ns` how far the text that is waited for has come, `open_text_ns` how far all text that can still come has.
    Only R never goes back: a stream that is waited for again pulls the others back to its own bound.
    """

    def __init__(self, declarations: Sequence[StreamDeclaration]) -> None:
        self.streams: dict[str, StreamState] = {}
        for declaration in declarations:
            if declaration.name in self.streams:
                raise TimelineError("declared stream", found=f"{declaration.name!r} twice", expected="each name once")
            self.streams[declaration.name] = StreamState(declaration)
        self._family: dict[str, list[StreamState]] = {s.name: [s] for s in self.streams.values() if s.is_source}
        for declaration in declarations:
            if declaration.source is not None:
                if declaration.source not in self._family:
                    raise TimelineError(
                        f"source of stream {declaration.name!r}",
                        found=repr(declaration.source),
                        expected="a declared stream that is not derived itself",
                    )
                self._family[declaration.source].append(self.streams[declaration.name])
        states = list(self.streams.values())
        activities = [s for s in states if s.modality is Modality.ACTIVITY]
        if len(activities) > 1:
            raise TimelineError("streams of modality activity", found=len(activities), expected="at most one")
        self.activity: StreamState | None = activities[0] if activities else None
        self._sources = [s for s in states if s.is_source]
        self._text = [s for s in states if s.modality is Modality.TEXT]
        self._data = [s for s in states if s.modality is not Modality.TEXT]
        self._reference = [s for s in self._data if s.modality is not Modality.ACTIVITY] or self._text
        self._epoch = 0
        self.reference_ns = NEVER_NS
        self.data_ns = NEVER_NS
        self.text_ns = NEVER_NS
        self.open_text_ns = NEVER_NS
        self.all_sources_ended = False
        self._update()

    def stream(self, name: str) -> StreamState:
        """The declared stream of that name. Raises `TimelineError` where there is none."""
        try:
            return self.streams[name]
        except KeyError:
            raise TimelineError(
                "stream of an item", found=repr(name), expected=f"one of {', '.join(self.streams)}", fix="declare it"
            ) from None

    def raise_bound(self, stream: StreamState, bound_ns: int) -> bool:
        """Takes a promise; whether that may move a mark. It changes nothing once the stream has ended."""
        before_ns = stream.bound_ns
        if stream.ended or bound_ns <= before_ns:
            return False
        stream.bound_ns = bound_ns
        if stream.modality is not Modality.TEXT and before_ns > self.reference_ns and before_ns > self.data_ns:
            return stream is self.activity  # others were behind it, and still are
        self._update()
        return True

    def end(self, stream: StreamState) -> None:
        """`stream` gives nothing more in this epoch; an end is not idleness, also for what derives from it."""
        if stream.ended:
            return
        stream.ended = True
        if stream.is_source:
            for member in self._family[stream.name]:
                member.idle = False
        self.all_sources_ended = all(s.ended for s in self._sources)
        self._update()

    def set_idle(self, control: StreamIdle | StreamActive) -> None:
        """A source stream becomes idle, or is no longer; what derives from it follows."""
        stream = self._source(control.stream, type(control).__name__)
        if not stream.ended:
            for member in self._family[stream.name]:
                member.idle = isinstance(control, StreamIdle)
            self._update()

    def restart(self, start: EpochStart) -> None:
        """The named source streams, and what derives from them, begin a new epoch."""
        if start.epoch <= self._epoch:
            raise TimelineError("EpochStart", found=f"epoch {start.epoch}", expected=f"more than {self._epoch}")
        named = [member for name in start.streams for member in self._family[self._source(name, "EpochStart").name]]
        self._epoch = start.epoch
        for stream in named:
            stream.ended = stream.idle = False
            stream.epoch = start.epoch
            stream.bound_ns = max(stream.bound_ns, start.at_ns)
        self.all_sources_ended = all(s.ended for s in self._sources)
        self._update()

    def drivers(self, *, by_activity: bool) -> frozenset[str]:
        """The source streams whose new epoch cuts the lane, for a lane that voice activity drives or one that does not."""
        if by_activity and self.activity is not None:
            return frozenset({self.activity.source})
        return frozenset(s.name for s in self._reference if s.is_source)

    @property
    def holding(self) -> StreamState:
        """The stream that holds everything back: of those that are waited for (if any), the one with the lowest bound."""
        states = self.streams.values()
        return min([s for s in states if s.waited_for] or states, key=lambda s: s.bound_ns)

    def _source(self, name: str, control: str) -> StreamState:
        stream = self.stream(name)
        if not stream.is_source:
            raise TimelineError(f"{control} of {name!r}", found="a derived stream", expected="the source that it derives from")
        return stream

    def _update(self) -> None:
        reference_ns = _lowest(self._reference)
        if self.all_sources_ended:
            self.reference_ns = max([self.reference_ns, *(s.bound_ns for s in self._sources)])
        elif self.reference_ns < reference_ns < FOREVER_NS:
            self.reference_ns = reference_ns
        self.data_ns = _lowest(self._data)
        self.text_ns = _lowest(self._text)
        self.open_text_ns = min([s.bound_ns for s in self._text if not s.ended], default=FOREVER_NS)


def _lowest(streams: Sequence[StreamState]) -> int:
    """The smallest bound over those that are waited for; plus infinity where nobody waits."""
    lowest_ns = FOREVER_NS
    for stream in streams:
        if stream.bound_ns < lowest_ns and not (stream.idle or stream.ended):
            lowest_ns = stream.bound_ns
    return lowest_ns
