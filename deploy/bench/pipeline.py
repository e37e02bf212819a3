"""What the pipeline costs: CPU against the same operators called bare, latency in real time, memory over time."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import psutil

from deploy.bench.bare import BareTimes, PlannedSegment
from deploy.bench.calibration import calibration_seconds
from deploy.inline import LoadedOperators, open_session
from stream.errors import AffectstreamError
from stream.prediction import Prediction
from stream.timeline.settings import UtteranceSettings

SAMPLE_MEMORY_S = 5.0
"""Between two samples of the process's memory."""


class PipelineRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the pipeline over a file: CPU-seconds after start-up, seconds of media, and the plan of its calls."""

    cpu_s: float
    media_s: float
    plan: list[PlannedSegment]


class Overhead(msgspec.Struct, frozen=True, kw_only=True):
    """Pipeline against bare operators, alternating pairs; CPU-seconds. Spreads are (smallest, largest)."""

    overhead_ratio: float
    overhead_spread: tuple[float, float]
    cpu_per_media_second: float
    cpu_per_media_second_spread: tuple[float, float]
    bare_cpu_per_media_second: float
    bare_operator_sum_ratio: float
    """The bare loop's time over the sum of its operators timed one by one: near 1, or the yardstick is bent."""
    calibration_s: float
    media_s: float
    pairs: int


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """End of speech to final prediction, in real time, in milliseconds, and what the median is made of."""

    utterances: int
    median_ms: float
    p95_ms: float
    hang_over_ms: float
    transcription_ms: float
    rest_ms: float


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Resident memory over one session: slope over the last four fifths."""

    minutes: float
    first_mb: float
    last_mb: float
    slope_mb_per_hour: float


def run_pipeline(media: str, operators: LoadedOperators) -> PipelineRun:
    """Runs one session over `media` and says what it cost and what it computed."""
    plan = []
    with open_session(media, operators=operators, session="bench") as session:
        for prediction in session:
            result = prediction.result
            if result.kind == "utterance" and "speech" not in prediction.measured.latency_ms:
                continue  # nothing new was heard: what its last provisional had computed was used again
            plan.append(
                PlannedSegment(
                    start_ns=result.start_ns,
                    end_ns=result.end_ns,
                    speech_ns=(result.start_ns, result.end_ns) if result.kind == "utterance" else None,
                    transcribe=result.kind == "utterance",
                    text=result.transcript.text if result.transcript else "",
                )
            )
        return PipelineRun(cpu_s=session.summary.cpu_s, media_s=session.summary.media_ns / 1e9, plan=plan)


def measure_overhead(media: Path, *, pairs: int) -> Overhead:
    """Alternating pairs of the pipeline and the bare operators over the same file, each run in a process of its own."""
    ratios, costs, bare_costs, sums = [], [], [], []
    media_s = 0.0
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "plan.json"
        for pair in range(pairs):
            if pair % 2 and plan.exists():
                bare = _bare(media, plan)
                piped = _piped(media)
            else:
                piped = _piped(media)
                plan.write_bytes(msgspec.json.encode(piped.plan))
                bare = _bare(media, plan)
            media_s = piped.media_s
            ratios.append(piped.cpu_s / bare.total_s)
            costs.append(piped.cpu_s / media_s)
            bare_costs.append(bare.total_s / media_s)
            sums.append(bare.total_s / sum(bare.operators_s.values()))
    return Overhead(
        overhead_ratio=statistics.median(ratios),
        overhead_spread=(min(ratios), max(ratios)),
        cpu_per_media_second=statistics.median(costs),
        cpu_per_media_second_spread=(min(costs), max(costs)),
        bare_cpu_per_media_second=statistics.median(bare_costs),
        bare_operator_sum_ratio=statistics.median(sums),
        calibration_s=calibration_seconds(),
        media_s=media_s,
        pairs=pairs,
    )


def measure_realtime(media: Path, *, utterance: UtteranceSettings) -> tuple[Latency, Memory]:
    """One session at the media's pace: latency of its finals, and memory from the first to the last sample."""
    samples: list[tuple[float, float]] = []
    done = threading.Event()
    sampler = threading.Thread(target=_sample_memory, args=(samples, done), daemon=True)
    finals: list[_Final] = []
    with open_session(str(media), realtime=True, operators=LoadedOperators(), session="bench") as session:
        sampler.start()
        # What is kept of each is little: an hour of predictions would be 5 MB of the memory that is measured.
        finals += (_final(p) for p in session if p.result.status == "final" and p.result.kind == "utterance")
    done.set()
    sampler.join()
    return _latency(finals, utterance), memory_slope(samples)


def memory_slope(samples: Sequence[tuple[float, float]]) -> Memory:
    """Least-squares slope of (seconds, MB) samples over the last four fifths of their time."""
    if len(samples) < 2:
        raise AffectstreamError("memory slope", found=f"{len(samples)} samples", expected="two or more", fix="run longer")
    seconds, megabytes = np.array(samples).T
    late = seconds >= seconds[0] + 0.2 * (seconds[-1] - seconds[0])
    slope = float(np.polyfit(seconds[late], megabytes[late], 1)[0]) if late.sum() > 1 else 0.0
    return Memory(
        minutes=float(seconds[-1] - seconds[0]) / 60,
        first_mb=float(megabytes[0]),
        last_mb=float(megabytes[-1]),
        slope_mb_per_hour=slope * 3600,
    )


class _Final(NamedTuple):
    ended: bool
    lag_ms: float | None
    heard_ms: float


def _final(prediction: Prediction) -> _Final:
    measured = prediction.measured
    heard_ms = measured.latency_ms.get("speech", 0.0) + measured.latency_ms.get("transcription", 0.0)
    # A cut for length has no end of speech; the others end `pad` after their last step of speech.
    return _Final(prediction.result.reason == "silence", measured.lag_ms, heard_ms)


def _latency(finals: Sequence[_Final], utterance: UtteranceSettings) -> Latency:
    spoken = [final for final in finals if final.ended and final.lag_ms is not None]
    if not spoken:
        raise AffectstreamError("latency", found="no utterance", expected="some", fix="take media in which somebody speaks")
    delays = [(final.lag_ms or 0.0) + utterance.pad_ns / 1e6 for final in spoken]
    transcription = statistics.median(final.heard_ms for final in spoken)
    median = statistics.median(delays)
    return Latency(
        utterances=len(spoken),
        median_ms=median,
        p95_ms=float(np.percentile(delays, 95)),
        hang_over_ms=utterance.hang_over_ns / 1e6,
        transcription_ms=transcription,
        rest_ms=median - utterance.hang_over_ns / 1e6 - transcription,
    )


def _sample_memory(samples: list[tuple[float, float]], done: threading.Event) -> None:
    process = psutil.Process()
    while not done.wait(SAMPLE_MEMORY_S):
        samples.append((time.monotonic(), process.memory_info().rss / 1e6))


def _piped(media: Path) -> PipelineRun:
    return msgspec.json.decode(_run_alone("deploy.bench.pipeline", str(media)), type=PipelineRun)


def _bare(media: Path, plan: Path) -> BareTimes:
    from operators.model_folder import DEFAULT_MODEL

    output = _run_alone("deploy.bench.bare", str(media), str(plan), str(DEFAULT_MODEL))
    return msgspec.json.decode(output, type=BareTimes)


def _run_alone(module: str, *arguments: str) -> bytes:
    """Standard output of a module run in a process of its own; its standard error on failure.

    With one BLAS thread: CPU seconds count a second one that spins, in the yardstick as in the pipeline, which allows none.
    """
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, check=False, env=environment)
    if done.returncode:
        raise AffectstreamError(f"bench of {module}", found=done.stderr.decode(errors="replace")[-400:])
    return done.stdout


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(run_pipeline(sys.argv[1], LoadedOperators())))
