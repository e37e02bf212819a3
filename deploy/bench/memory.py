"""Memory of this process over time, and which kind of it grows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
import numpy as np
import psutil

from deploy.heap import heap_in_use
from stream.errors import AffectstreamError

SAMPLE_S = 5.0
"""Between two samples."""


class MemorySample(msgspec.Struct, frozen=True, kw_only=True):
    """What the process held at one moment; megabytes of 10^6 bytes."""

    at_s: float
    resident_mb: float
    files_mb: float
    """Part of it: pages of libraries and other files that have been touched; the system can take them back."""
    in_use_mb: float | None
    """What the program has asked of the C library's heap and not given back; None where the heap doesn't tell."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Memory over one session: least-squares slopes over the last four fifths."""

    minutes: float
    first_mb: float
    last_mb: float
    slope_mb_per_hour: float
    """Of resident memory, and below of its parts: what grows with touched library pages or in the heap's holes is no leak."""
    files_slope_mb_per_hour: float
    in_use_slope_mb_per_hour: float | None


@contextmanager
def sampled_memory() -> Iterator[list[MemorySample]]:
    """A list that a thread of its own fills with samples of this process every `SAMPLE_S` until the end."""
    samples: list[MemorySample] = []
    done = threading.Event()
    sampler = threading.Thread(target=_fill, args=(samples, done), daemon=True)
    sampler.start()
    try:
        yield samples
    finally:
        done.set()
        sampler.join()


def memory_slope(samples: Sequence[MemorySample]) -> Memory:
    """The slopes of `samples`. Raises `AffectstreamError` where there are fewer than two."""
    if len(samples) < 2:
        raise AffectstreamError("memory slope", found=f"{len(samples)} samples", expected="two or more", fix="run longer")
    first, last = samples[0], samples[-1]
    late = [sample for sample in samples if sample.at_s >= first.at_s + 0.2 * (last.at_s - first.at_s)]
    in_use = [sample.in_use_mb for sample in late if sample.in_use_mb is not None]
    return Memory(
        minutes=(last.at_s - first.at_s) / 60,
        first_mb=first.resident_mb,
        last_mb=last.resident_mb,
        slope_mb_per_hour=_slope(late, [sample.resident_mb for sample in late]),
        files_slope_mb_per_hour=_slope(late, [sample.files_mb for sample in late]),
        in_use_slope_mb_per_hour=_slope(late, in_use) if len(in_use) == len(late) else None,
    )


def _slope(samples: Sequence[MemorySample], megabytes: Sequence[float]) -> float:
    if len(samples) < 2:
        return 0.0
    return float(np.polyfit([sample.at_s for sample in samples], megabytes, 1)[0]) * 3600


def _fill(samples: list[MemorySample], done: threading.Event) -> None:
    process = psutil.Process()
    while not done.wait(SAMPLE_S):
        memory, in_use = process.memory_info(), heap_in_use()
        samples.append(
            MemorySample(
                at_s=time.monotonic(),
                resident_mb=memory.rss / 1e6,
                files_mb=getattr(memory, "shared", 0) / 1e6,
                in_use_mb=None if in_use is None else in_use / 1e6,
            )
        )
