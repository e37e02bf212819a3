"""What the pipeline costs: CPU against the same operators called bare, latency in real time, memory over time."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from deploy.bench.bare import BareTimes, PlannedSegment
from deploy.bench.calibration import calibration_seconds
from deploy.bench.memory import Memory, memory_slope, sampled_memory
from deploy.inline import LoadedOperators, open_session
from stream.errors import AffectstreamError
from stream.prediction import Prediction
from stream.timeline.settings import UtteranceSettings


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
    finals: list[_Final] = []
    with (
        open_session(str(media), realtime=True, operators=LoadedOperators(), session="bench") as session,
        sampled_memory() as samples,
    ):
        # What is kept of each is little: an hour of predictions would be 5 MB of the memory that is measured.
        finals += (_final(p) for p in session if p.result.status == "final" and p.result.kind == "utterance")
    return _latency(finals, utterance), memory_slope(samples)


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
