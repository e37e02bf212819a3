"""Live sessions for tests of the live door: devices with clocks of their own, and what any list of actions makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from stream.timeline.live import DoorItem, LiveDoor, LiveSettings, LiveStream
from stream.timeline.live_device import Place
from stream.timeline.packets import EpochStart, Modality, Packet
from stream.timeline.time import NS_PER_MS, NS_PER_SECOND

S, MS = NS_PER_SECOND, NS_PER_MS
FRAME_NS, CHUNK_NS = S // 30 + 1, 20 * MS
VIDEO = LiveStream(name="video", modality=Modality.VIDEO, device="camera")
AUDIO = LiveStream(name="audio", modality=Modality.AUDIO, device="microphone")
WORDS = LiveStream(name="words", modality=Modality.TEXT)
STREAMS = (VIDEO, AUDIO, WORDS)

Call = tuple[Callable[[LiveDoor], list[DoorItem]], int]
"""A call of the door, and its arrival time."""


def maker(stream: str, sequence: int) -> Callable[[Place], Packet]:
    """What a source gives the door to build its packet with."""

    def make(place: Place) -> Packet:
        return Packet(stream=stream, sequence=sequence, epoch=place.epoch, start_ns=place.start_ns, end_ns=place.end_ns)

    return make


@dataclass
class LiveScene:
    """Pushes packets by their true times: a device's clock is ahead by `ahead_ns`, an arrival `delay` after the end."""

    streams: Sequence[LiveStream] = STREAMS
    settings: LiveSettings = LiveSettings()  # noqa: RUF009 - immutable
    ahead_ns: dict[str, int] = field(default_factory=lambda: {"video": 5_000 * S, "audio": -300 * S, "words": 0})

    def __post_init__(self) -> None:
        self.door = LiveDoor(self.streams, self.settings)
        self.given: list[DoorItem] = []
        self.truth: dict[tuple[str, int], int] = {}
        self.sequence = {stream.name: 0 for stream in self.streams}
        self.epochs: dict[str, int] = {}

    def push(self, stream: str, start_ns: int, length_ns: int = 0, *, delay_ns: int = 0) -> list[DoorItem]:
        sequence = self.sequence[stream]
        self.sequence[stream] += 1
        self.truth[stream, sequence] = start_ns
        arrival_ns = start_ns + length_ns + delay_ns
        stamp_ns = start_ns + self.ahead_ns[stream]
        return self.keep(self.door.push(stream, sequence, stamp_ns, length_ns, maker(stream, sequence), arrival_ns))

    def run(self, from_ns: int, to_ns: int, *streams: str, delay_ns: int = 0) -> None:
        """All streams named (video, audio) go on, packets in order of arrival."""
        due = [(t, t, "video", 0) for t in range(-(-from_ns // FRAME_NS) * FRAME_NS, to_ns, FRAME_NS) if "video" in streams]
        chunks = range(-(-from_ns // CHUNK_NS) * CHUNK_NS, to_ns, CHUNK_NS) if "audio" in streams else ()
        due += [(t + CHUNK_NS, t, "audio", CHUNK_NS) for t in chunks]
        for _, start_ns, stream, length_ns in sorted(due):
            self.push(stream, start_ns, length_ns, delay_ns=delay_ns)

    def keep(self, given: list[DoorItem]) -> list[DoorItem]:
        self.given += given
        return given

    def packets(self, stream: str) -> list[Packet]:
        return [g.item for g in self.given if isinstance(g.item, Packet) and g.item.stream == stream]

    def controls(self) -> list[object]:
        return [g.item for g in self.given if not isinstance(g.item, Packet)]

    def epoch_starts(self) -> list[EpochStart]:
        return [item for item in self.controls() if isinstance(item, EpochStart)]

    def worst_ns(self) -> int:
        """The largest error of a place."""
        packets = [g.item for g in self.given if isinstance(g.item, Packet)]
        return max(abs(p.start_ns - self.truth[p.stream, p.sequence]) for p in packets)


@st.composite
def calls(draw: st.DrawFn) -> list[Call]:
    """Any stamps at any arrivals: runs, overtaking, drops, jumps of a clock, silence, ends and reconnects."""
    made: list[Call] = []
    now_ns = 0
    sequence = {stream.name: 0 for stream in STREAMS}
    ahead_ns = {"video": 5_000 * S, "audio": -300 * S, "words": 0}
    step = st.tuples(
        st.sampled_from(["run", "run", "run", "push", "push", "jump", "silence", "end"]),
        st.sampled_from([stream.name for stream in STREAMS]),
        st.integers(-400, 400),
        st.integers(0, 40),
    )
    for what, name, number, many in draw(st.lists(step, max_size=25)):
        if what == "run":
            for index in range(many):
                now_ns += FRAME_NS
                for stream in STREAMS if number > 0 else STREAMS[:2]:
                    late_ns = (index * number * 7_919 % 50) * MS
                    made.append(_push(stream.name, sequence, now_ns - late_ns + ahead_ns[stream.name], CHUNK_NS, now_ns))
        elif what == "push":
            sequence[name] += many % 3 if number % 2 else -(many % 3)
            made.append(_push(name, sequence, now_ns + number * MS + ahead_ns[name], many * MS, now_ns))
        elif what == "jump":
            ahead_ns[name] += number * (S if many % 2 else MS) if name != "words" else 0
        elif what == "silence":
            now_ns += many * 100 * MS
        else:
            made.append((lambda door, name=name, at=now_ns: door.end(name, at), now_ns))  # type: ignore[misc]
    return made


def _push(name: str, sequence: dict[str, int], stamp_ns: int, length_ns: int, now_ns: int) -> Call:
    number = sequence[name] = max(0, sequence[name])
    sequence[name] += 1

    def call(door: LiveDoor) -> list[DoorItem]:
        return door.push(name, number, stamp_ns, length_ns, maker(name, number), now_ns)

    return call, now_ns
