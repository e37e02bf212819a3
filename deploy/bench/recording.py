"""What recording costs: CPU of a session with it over one without, alternating pairs; and several sessions at once."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgspec

from deploy.bench.calibration import calibration_seconds
from deploy.inline import InlineSession, LoadedOperators, open_session
from stream.errors import AffectstreamError
from stream.recording.entries import Closed
from stream.recording.reader import Recording


class RecordingCost(msgspec.Struct, frozen=True, kw_only=True):
    """CPU-seconds of whole sessions, after start-up; `writer_share` is the CPU of the recorder's own thread over the session's.

    Spreads are (smallest, largest).
    """

    overhead_ratio: float
    overhead_spread: tuple[float, float]
    writer_share: float
    cpu_per_media_second: float
    megabytes_per_minute: float
    calibration_s: float
    media_s: float
    pairs: int


class Together(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions recorded at once in one process: what was lost, and whether each recording holds what its session had."""

    sessions: int
    lost: int
    failed: int
    complete: int
    entries: list[int]
    cpu_per_media_second: float


class _Run(msgspec.Struct, frozen=True, kw_only=True):
    cpu_s: float
    writer_s: float
    media_s: float
    size: int


def measure_cost(media: Path, *, pairs: int) -> RecordingCost:
    """Alternating pairs, each run in a process of its own."""
    ratios, shares, costs, sizes = [], [], [], []
    media_s = 0.0
    for pair in range(pairs):
        order = (True, False) if pair % 2 else (False, True)
        runs = {recorded: _alone(media, recorded) for recorded in order}
        with_it, without = runs[True], runs[False]
        media_s = with_it.media_s
        ratios.append(with_it.cpu_s / without.cpu_s)
        shares.append(with_it.writer_s / with_it.cpu_s)
        costs.append(with_it.cpu_s / media_s)
        sizes.append(with_it.size / 1e6 / (media_s / 60))
    return RecordingCost(
        overhead_ratio=statistics.median(ratios),
        overhead_spread=(min(ratios), max(ratios)),
        writer_share=statistics.median(shares),
        cpu_per_media_second=statistics.median(costs),
        megabytes_per_minute=statistics.median(sizes),
        calibration_s=calibration_seconds(),
        media_s=media_s,
        pairs=pairs,
    )


def measure_together(media: Path, *, sessions: int) -> Together:
    """Several sessions over one file at once, with the same operators, each recorded."""
    operators = LoadedOperators()
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.mcap" for number in range(sessions)]
        opened = [open_session(str(media), operators=operators, session=str(n), record=path) for n, path in enumerate(paths)]
        begun_s = time.process_time()
        threads = [threading.Thread(target=_exhaust, args=(session,)) for session in opened]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        cpu_s = time.process_time() - begun_s
        entries, lost, complete = [], 0, 0
        for path in paths:
            recording = Recording(path)
            arrived = list(recording.arrived())
            entries.append(len(arrived))
            lost += sum(recording.end.lost.values()) if recording.end else 0
            complete += bool(recording.end and recording.end.complete and arrived and isinstance(arrived[-1].entry, Closed))
        for session in opened:
            session.close()
    operators.close()
    return Together(
        sessions=sessions,
        lost=lost,
        failed=sum(session.recording_failure is not None for session in opened),
        complete=complete,
        entries=entries,
        cpu_per_media_second=cpu_s / sum(session.summary.media_ns / 1e9 for session in opened),
    )


def _exhaust(session: InlineSession) -> None:
    for _ in session:
        """Nobody looks at the predictions."""


def _alone(media: Path, recorded: bool) -> _Run:
    command = [sys.executable, "-m", "deploy.bench.recording", str(media), *(["--record"] if recorded else [])]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise AffectstreamError("bench of recording", found=done.stderr.decode(errors="replace")[-400:])
    return msgspec.json.decode(done.stdout, type=_Run)


def _one(media: str, *, recorded: bool) -> _Run:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.mcap"
        operators = LoadedOperators()
        with open_session(media, operators=operators, session="bench", record=path if recorded else None) as session:
            begun_s = time.process_time()
            _exhaust(session)
            cpu_s = time.process_time() - begun_s
            if session.recording_failure is not None:
                raise AffectstreamError(session.recording_failure)
            return _Run(
                cpu_s=cpu_s,
                writer_s=session.recording_busy_ns / 1e9,
                media_s=session.summary.media_ns / 1e9,
                size=path.stat().st_size if recorded else 0,
            )


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(_one(sys.argv[1], recorded="--record" in sys.argv[2:])))
