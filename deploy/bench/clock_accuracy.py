"""How well clock maps find session time: simulated devices with known truth, observed through a network that delays them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
import numpy as np

from stream.timeline.clock import DeviceClock, Verdict
from stream.timeline.clock_settings import Latency
from stream.timeline.time import NS_PER_MS, NS_PER_SECOND

WARM_UP_NS = 30 * NS_PER_SECOND
"""Of each session; what is converted of it counts for neither error nor coverage."""
LATENCY = Latency(latency_ns=40 * NS_PER_MS, uncertainty_ns=10 * NS_PER_MS)
"""Of the slow device, and what is stated of it; the fast one has none."""
_GAP_NS = 10 * NS_PER_SECOND
_MEAN_JITTER_NS = 10 * NS_PER_MS
_MAX_JITTER_NS = 50 * NS_PER_MS


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A simulated device: its clock runs at 1 + `drift`, and is set back to a new zero at `reset_ns` (session time)."""

    name: str
    period_ns: int
    drift: float
    reset_ns: int | None = None
    gap_ns: int | None = None
    latency: Latency = Latency()


class Trace(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Observations in order of arrival, int64 (n,) nanoseconds each: true session time, device's stamp, arrival."""

    truth_ns: np.ndarray
    device_ns: np.ndarray
    arrival_ns: np.ndarray


class Conversion(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a map made of a trace, in its order: int64 (n,) nanoseconds, and the map's epoch int64 (n,)."""

    session_ns: np.ndarray
    uncertainty_ns: np.ndarray
    epoch: np.ndarray
    seconds: float
    """CPU seconds inside the map."""


class ClockAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one device; errors in milliseconds against the configured latency, after the warm-up."""

    observations: int
    error_median_ms: float
    error_p99_ms: float
    error_max_ms: float
    uncertainty_median_ms: float
    """Of the map alone, without the latency's."""
    covered_share: float
    """Errors within the stated uncertainty, the latency's included."""
    covered_by_map_share: float
    """Errors within the stated uncertainty less the latency's."""
    steps_back: int
    resets: int
    microseconds_an_observation: float
    """Observed and converted."""


def devices(length_ns: int) -> tuple[Device, Device]:
    """A camera 200 ppm fast that is reset, and a microphone 100 ppm slow with latency; both fall silent once."""
    camera = Device(
        name="fast", period_ns=NS_PER_SECOND // 30, drift=200e-6, reset_ns=length_ns * 5 // 9, gap_ns=length_ns * 7 // 9
    )
    microphone = Device(name="slow", period_ns=NS_PER_SECOND // 50, drift=-100e-6, gap_ns=length_ns // 3, latency=LATENCY)
    return camera, microphone


def simulate(device: Device, length_ns: int, seed: int) -> Trace:
    """A seeded session of one device. Jitter is exponential, at most 50 ms; nothing overtakes."""
    chance = np.random.default_rng(seed)
    truth_ns = np.arange(0, length_ns, device.period_ns, dtype=np.int64)
    if device.gap_ns is not None:
        truth_ns = truth_ns[(truth_ns < device.gap_ns) | (truth_ns >= device.gap_ns + _GAP_NS)]
    device_ns = truth_ns + np.rint(truth_ns * device.drift).astype(np.int64) + 77_777 * NS_PER_SECOND
    if device.reset_ns is not None:
        device_ns[truth_ns >= device.reset_ns] -= 70_000 * NS_PER_SECOND
    jitter_ns = np.minimum(chance.exponential(_MEAN_JITTER_NS, len(truth_ns)), _MAX_JITTER_NS).astype(np.int64)
    arrival_ns = np.maximum.accumulate(truth_ns + device.latency.latency_ns + jitter_ns)
    return Trace(truth_ns=truth_ns, device_ns=device_ns, arrival_ns=arrival_ns)


def convert(trace: Trace, clock: DeviceClock) -> Conversion:
    """Feeds a trace to a map as a source does: what comes before it has settled, or is held, waits."""
    session, uncertainty, epochs = [], [], []
    waiting: list[int] = []
    held: int | None = None
    epoch, begun = 0, time.thread_time()
    for device_ns, arrival_ns in zip(trace.device_ns.tolist(), trace.arrival_ns.tolist(), strict=True):
        verdict = clock.observe(device_ns, arrival_ns)
        if verdict is Verdict.HELD:
            held = device_ns
            continue
        if verdict is Verdict.RESET:
            epoch += 1
            waiting += [] if held is None else [held]
        held = None
        waiting.append(device_ns)
        if clock.settled:
            for waited_ns in waiting:
                reading = clock.convert(waited_ns)
                session.append(reading.session_ns)
                uncertainty.append(reading.uncertainty_ns)
                epochs.append(epoch)
            waiting.clear()
    return Conversion(
        session_ns=np.array(session),
        uncertainty_ns=np.array(uncertainty),
        epoch=np.array(epochs),
        seconds=time.thread_time() - begun,
    )


def accuracy(device: Device, length_ns: int, seed: int) -> ClockAccuracy:
    """Simulates, converts and compares with the truth; every observation of the trace has to come out."""
    trace = simulate(device, length_ns, seed)
    found = convert(trace, DeviceClock(device.latency))
    error_ns = np.abs(found.session_ns - trace.truth_ns[: len(found.session_ns)])
    counts = trace.truth_ns[: len(found.session_ns)] >= WARM_UP_NS
    error_ns, uncertainty_ns = error_ns[counts], found.uncertainty_ns[counts]
    by_map_ns = uncertainty_ns - device.latency.uncertainty_ns
    same_epoch = np.diff(found.epoch) == 0
    return ClockAccuracy(
        observations=len(found.session_ns),
        error_median_ms=round(float(np.median(error_ns)) / NS_PER_MS, 4),
        error_p99_ms=round(float(np.quantile(error_ns, 0.99)) / NS_PER_MS, 4),
        error_max_ms=round(float(error_ns.max()) / NS_PER_MS, 4),
        uncertainty_median_ms=round(float(np.median(by_map_ns)) / NS_PER_MS, 4),
        covered_share=round(float(np.mean(error_ns <= uncertainty_ns)), 5),
        covered_by_map_share=round(float(np.mean(error_ns <= by_map_ns)), 5),
        steps_back=int(np.sum(np.diff(found.session_ns)[same_epoch] < 0)),
        resets=int(found.epoch[-1]),
        microseconds_an_observation=round(1e6 * found.seconds / len(trace.truth_ns), 2),
    )


def measure(length_ns: int, seeds: int) -> Iterator[tuple[str, ClockAccuracy]]:
    """Figures by device and seed."""
    for seed in range(seeds):
        for device in devices(length_ns):
            yield f"{device.name}_{seed}", accuracy(device, length_ns, seed)
