"""Seeded traces of live sessions: 30 Hz video, 50 Hz audio, three words a second, and what disturbs them."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from itertools import count

import msgspec

from deploy.bench.alignment_trace import Event, Header, StreamHeader, Trace, TraceEnd, TracePacket
from stream.timeline.time import NS_PER_MS, NS_PER_SECOND

WINDOW_NS = 2 * NS_PER_SECOND
_PERIODS_NS = {"video": 33_333_333, "audio": 20_000_000}
_WORD_NS = NS_PER_SECOND // 3
_RECOGNISED_NS = 150 * NS_PER_MS
"""From the end of a word to its arrival, where nothing delays it."""
_DEAD_NS = 5 * NS_PER_SECOND
_ZEROS_NS = 10**15
"""Devices' clocks begin within eleven days of the session's."""


class Disturbance(msgspec.Struct, frozen=True, kw_only=True):
    """What befalls a session. The camera dies a third into each cycle for five seconds; clocks are reset at two thirds."""

    jitter_ns: int = 0
    """Arrivals are later by up to this, uniformly and each by itself: they overtake each other."""
    words_shift_ns: int = 0
    """Words arrive later by this; below zero, by so much before they are said."""
    camera_dies: bool = False
    has_microphone: bool = True
    drift: float = 0.0
    """The camera's clock gains by this share."""
    resets: tuple[str, ...] = ()
    """Streams whose clocks are set to another zero."""
    reset_when_back: bool = False
    """The clocks are reset when the camera is there again instead."""
    cycle_ns: int = 60 * NS_PER_SECOND


DISTURBANCES = {
    "undisturbed": Disturbance(),
    "jitter": Disturbance(jitter_ns=50 * NS_PER_MS),
    "words_late": Disturbance(words_shift_ns=2 * NS_PER_SECOND),
    "camera_dead": Disturbance(camera_dies=True),
    "no_microphone": Disturbance(has_microphone=False),
    "words_ahead": Disturbance(words_shift_ns=-10 * NS_PER_SECOND),
    "drift": Disturbance(drift=200e-6),
    "reset": Disturbance(resets=("video",)),
    "camera_replaced": Disturbance(jitter_ns=50 * NS_PER_MS, camera_dies=True, resets=("video",), reset_when_back=True),
    "all": Disturbance(
        jitter_ns=50 * NS_PER_MS,
        words_shift_ns=2 * NS_PER_SECOND,
        camera_dies=True,
        has_microphone=False,
        drift=200e-6,
        resets=("video",),
    ),
    "all_with_sound": Disturbance(
        jitter_ns=50 * NS_PER_MS,
        words_shift_ns=-10 * NS_PER_SECOND,
        camera_dies=True,
        drift=200e-6,
        resets=("video", "audio"),
    ),
}
"""Each alone, then all that can be together: words can't be late and ahead, nor a microphone absent and reset."""


def header(seed: int, window_ns: int = WINDOW_NS) -> Header:
    """The header of a simulated trace."""
    streams = {name: StreamHeader(period_ns=period_ns) for name, period_ns in _PERIODS_NS.items()}
    return Header(seed=seed, window_ns=window_ns, streams={**streams, "words": StreamHeader()})


def simulated_trace(disturbance: Disturbance, length_ns: int, seed: int) -> Trace:
    """A session of that length."""
    return Trace(header=header(seed), events=list(simulated_events(disturbance, length_ns, seed)))


def simulated_events(disturbance: Disturbance, length_ns: int, seed: int) -> Iterator[Event]:
    """A session of that length in order of arrival, piece by piece, for sessions that no memory holds."""
    streams = [
        _device("video", disturbance, length_ns, seed),
        _device("audio", disturbance, length_ns, seed) if disturbance.has_microphone else iter(()),
        _words(disturbance, length_ns, random.Random(f"{seed} words")),
    ]
    now_ns = 0
    for packet in heapq.merge(*streams, key=lambda packet: packet.arrival_ns):
        now_ns = packet.arrival_ns
        yield packet
    for name in (*_PERIODS_NS, "words"):
        yield TraceEnd(stream=name, arrival_ns=now_ns)


def _device(name: str, disturbance: Disturbance, length_ns: int, seed: int) -> Iterator[TracePacket]:
    """The packets of a camera (instants) or a microphone (chunks without a gap), in order of arrival."""
    period_ns, cycle_ns = _PERIODS_NS[name], disturbance.cycle_ns
    chance = random.Random(f"{seed} {name}")
    phase_ns, zero_ns, resets = chance.randrange(period_ns), chance.randrange(_ZEROS_NS), 0
    drift = disturbance.drift if name == "video" else 0.0
    under_way: list[tuple[int, int, TracePacket]] = []
    for seq in count():
        start_ns = phase_ns + seq * period_ns
        end_ns = start_ns if name == "video" else start_ns + period_ns
        while under_way and (start_ns >= length_ns or under_way[0][0] <= start_ns):
            yield heapq.heappop(under_way)[2]
        if start_ns >= length_ns:
            return
        dead = disturbance.camera_dies and cycle_ns // 3 <= start_ns % cycle_ns < cycle_ns // 3 + _DEAD_NS
        arrival_ns = end_ns + chance.randrange(disturbance.jitter_ns + 1)
        if dead and name == "video":
            continue
        reset_ns = cycle_ns // 3 + _DEAD_NS if disturbance.reset_when_back else cycle_ns * 2 // 3
        if name in disturbance.resets and start_ns >= resets * cycle_ns + reset_ns:
            resets, zero_ns = resets + 1, chance.randrange(_ZEROS_NS)
        packet = TracePacket(
            stream=name,
            seq=seq,
            start_ns=start_ns,
            end_ns=end_ns,
            device_ns=start_ns + round(start_ns * drift) + zero_ns,
            arrival_ns=arrival_ns,
        )
        heapq.heappush(under_way, (arrival_ns, seq, packet))


def _words(disturbance: Disturbance, length_ns: int, chance: random.Random) -> Iterator[TracePacket]:
    """Words in order, each as long as it likes within a third of a second."""
    arrival_ns = 0
    for seq in range(length_ns // _WORD_NS):
        start_ns = seq * _WORD_NS + chance.randrange(_WORD_NS // 8)
        end_ns = start_ns + chance.randrange(_WORD_NS // 8, _WORD_NS * 7 // 8)
        if disturbance.words_shift_ns < 0:
            arrival_ns = max(arrival_ns, start_ns + disturbance.words_shift_ns)
        else:
            late_ns = disturbance.words_shift_ns + chance.randrange(disturbance.jitter_ns + 1)
            arrival_ns = max(arrival_ns, end_ns + _RECOGNISED_NS + late_ns)
        yield TracePacket(stream="words", seq=seq, start_ns=start_ns, end_ns=end_ns, device_ns=start_ns, arrival_ns=arrival_ns)
