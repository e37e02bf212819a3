"""Memory of the live door and the aligner over many simulated hours of everything that can befall them together."""

from __future__ import annotations

import gc
import time

import msgspec
import numpy as np
import psutil

from deploy.bench.alignment import LiveAlignment
from deploy.bench.alignment_disturbances import DISTURBANCES, header, simulated_events
from stream.timeline.segments import Revision
from stream.timeline.time import NS_PER_SECOND

HOUR_NS = 3600 * NS_PER_SECOND
_CYCLE_NS = 600 * NS_PER_SECOND
"""The camera dies and the clocks are reset once in it."""
_SAMPLE_NS = HOUR_NS // 6


class Soak(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a soak; memory is what the process keeps after garbage collection, every ten simulated minutes."""

    hours: float
    packets: int
    windows: int
    unaccounted: int
    """Packets that are neither used, late, unclaimed, refused nor held: 0, or the ledger is wrong."""
    mb_first: float
    mb_last: float
    mb_an_hour: float
    """The slope of a line through what comes after the first hour (of less than two hours: the first half)."""
    events_per_second: int


def soak(hours: float, seed: int) -> Soak:
    """Runs `hours` of a session with sound in which everything happens every ten minutes; nothing of it is kept."""
    disturbance = msgspec.structs.replace(DISTURBANCES["all_with_sound"], cycle_ns=_CYCLE_NS)
    session = LiveAlignment(header(seed), keep_uncertainty=False)
    events = simulated_events(disturbance, round(hours * HOUR_NS), seed)
    process = psutil.Process()
    samples: list[tuple[float, float]] = []
    pushed = windows = 0
    next_sample_ns = 0
    begun = time.thread_time()
    for event in events:
        pushed += 1
        windows += sum(isinstance(output, Revision) and output.status == "final" for output in session.push(event))
        if event.arrival_ns >= next_sample_ns:
            next_sample_ns += _SAMPLE_NS
            gc.collect()
            samples.append((event.arrival_ns / HOUR_NS, process.memory_info().rss / 2**20))
    session.close()
    seconds = time.thread_time() - begun
    received = sum(counts.received for counts in session.aligner.ledger.summary().values())
    packets = pushed - 3  # the ends
    later = np.array([sample for sample in samples if sample[0] >= min(1, hours / 2)])
    return Soak(
        hours=hours,
        packets=packets,
        windows=windows,
        unaccounted=packets - received - sum(session.door.refused.values()) - session.door.waiting,
        mb_first=round(samples[0][1], 2),
        mb_last=round(samples[-1][1], 2),
        mb_an_hour=round(float(np.polyfit(later[:, 0], later[:, 1], 1)[0]), 4),
        events_per_second=round(pushed / seconds),
    )
