"""Publishing measured: own publisher and subscribers against bare pyzmq with the same payload, encoded and decoded alike."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import msgspec
import numpy as np

from deploy.bench.publish_side import Side
from stream.publishing.keys import new_key

PROCESSES = 10
"""Among which subscribers are shared out, as threads."""
STALL_S = 10.0
STALL_RATE, RESTART_RATE = 2_000.0, 1_000.0


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Subscribers, and messages a second to each."""

    subscribers: int
    rate: float


LOADS = (Load(subscribers=1, rate=10_000), Load(subscribers=10, rate=1_000), Load(subscribers=100, rate=100))


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one run: share delivered, latency from `publish` to the typed prediction, CPU of all processes a delivered message."""

    delivered: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Medians over the pairs. Goals: delivered 1, added_p50_ms at most .5, cpu_ratio at most 1.25."""

    own: Figures
    bare: Figures
    added_p50_ms: float
    cpu_ratio: float
    cpu_ratios: tuple[float, ...]
    load_average: float


class Stall(msgspec.Struct, frozen=True, kw_only=True):
    """A subscriber stopped for some seconds: how soon it has, or has been told of, all that was sent meanwhile."""

    caught_up_s: float
    complete: bool
    told: int
    untold: int


class Restart(msgspec.Struct, frozen=True, kw_only=True):
    """A publisher killed and started again: from its being there to its first message at the subscriber, and what is lost."""

    followed_s: float
    acknowledged: int
    lost: int


def measure(seconds: float, pairs: int, *, curve: bool) -> dict[str, Comparison]:
    """Each load, own and bare in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = make_keys(folder) if curve else None
        return {f"{load.subscribers}_at_{load.rate:g}": compare(load, seconds, pairs, folder, keys) for load in LOADS}


def compare(load: Load, seconds: float, pairs: int, folder: Path, keys: Path | None) -> Comparison:
    """One load, own and bare in turn."""
    runs: dict[bool, list[Figures]] = {True: [], False: []}
    for pair in range(pairs):
        for own in (True, False) if pair % 2 == 0 else (False, True):
            runs[own].append(_run(load, seconds, own, folder, keys))
    medians = {
        kind: Figures(**{field: median(getattr(f, field) for f in figures) for field in Figures.__struct_fields__})
        for kind, figures in runs.items()
    }
    ratios = tuple(o.cpu_us / b.cpu_us for o, b in zip(runs[True], runs[False], strict=True))
    return Comparison(
        own=medians[True],
        bare=medians[False],
        added_p50_ms=median(o.p50_ms - b.p50_ms for o, b in zip(runs[True], runs[False], strict=True)),
        cpu_ratio=median(ratios),
        cpu_ratios=ratios,
        load_average=os.getloadavg()[0],
    )


def measure_stall() -> Stall:
    """A subscriber is stopped for ten seconds at 2 000 messages a second."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        number = int(STALL_RATE * (STALL_S + 8))
        side = Side(endpoint=_free_endpoint(), out=str(folder / "out"), rate=STALL_RATE, messages=number)
        with _process("publish", side) as publisher:
            _line(publisher)
            with _process("subscribe", msgspec.structs.replace(side, out=str(folder / "in"))) as subscriber:
                _line(subscriber)
                _go(publisher)
                time.sleep(2)
                subscriber.send_signal(signal.SIGSTOP)
                time.sleep(STALL_S)
                resumed = time.monotonic_ns()
                subscriber.send_signal(signal.SIGCONT)
                _end(subscriber)
                _end(publisher)
        sent, received = np.load(folder / "out.npz")["sent"], np.load(folder / "in.npz")
    came, gaps = received["came"][0], received["gaps"]
    meanwhile = came[sent <= resumed]
    told = int(gaps[:, 0].sum())
    untold = max(0, int((came == 0).sum()) - told)
    last = max(meanwhile.max(initial=0), gaps[:, 1].max(initial=0))
    return Stall(caught_up_s=float(last - resumed) / 1e9, complete=bool((came > 0).all()), told=told, untold=untold)


def measure_restart() -> Restart:
    """A publisher with a log is killed and started again at the same address."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        half = int(RESTART_RATE * 4)
        side = Side(
            endpoint=_free_endpoint(), out=str(folder / "out"), rate=RESTART_RATE, messages=half, log=str(folder / "log")
        )
        listener = msgspec.structs.replace(side, out=str(folder / "in"), messages=2 * half)
        with _process("publish", side) as publisher, _process("subscribe", listener) as subscriber:
            _line(publisher)
            _line(subscriber)
            _go(publisher)
            until = time.monotonic() + 2
            acknowledged = 0
            while time.monotonic() < until:
                acknowledged = int(_line(publisher))
            publisher.kill()
            publisher.wait()
            with _process("publish", msgspec.structs.replace(side, first=half)) as second:
                _line(second)
                there = time.monotonic_ns()
                _go(second)
                _end(subscriber)
                _end(second)
        came = np.load(folder / "in.npz")["came"][0]
    warm_ups = 200  # session events before the first prediction, each acknowledged too: a few
    certain = max(0, acknowledged - warm_ups)
    return Restart(
        followed_s=float(came[half:][came[half:] > 0].min() - there) / 1e9,
        acknowledged=acknowledged,
        lost=int((came[:certain] == 0).sum()),
    )


def make_keys(folder: Path) -> Path:
    """Keys of a publisher and of the subscribing processes that it lets in."""
    keys = folder / "keys"
    new_key("publisher", keys)
    (keys / "authorised").mkdir()
    for index in range(PROCESSES):
        _, public = new_key(f"subscriber-{index}", keys)
        public.rename(keys / "authorised" / public.name)
    return keys


def _run(load: Load, seconds: float, own: bool, folder: Path, keys: Path | None) -> Figures:
    side = Side(
        endpoint=_free_endpoint(),
        out=str(folder / "out"),
        own=own,
        rate=load.rate,
        messages=int(load.rate * seconds),
        keys=None if keys is None else str(keys),
    )
    shares = [len(part) for part in np.array_split(np.arange(load.subscribers), min(load.subscribers, PROCESSES))]
    with contextlib.ExitStack() as stack:
        publisher = stack.enter_context(_process("publish", side))
        _line(publisher)
        subscribers = [
            stack.enter_context(
                _process(
                    "subscribe",
                    msgspec.structs.replace(side, out=str(folder / f"in-{index}"), threads=share, key=f"subscriber-{index}"),
                )
            )
            for index, share in enumerate(shares)
        ]
        for subscriber in subscribers:
            _line(subscriber)
        _go(publisher)
        for process in (*subscribers, publisher):
            _end(process)
    out = np.load(folder / "out.npz")
    inbound = [np.load(folder / f"in-{index}.npz") for index in range(len(shares))]
    came = np.concatenate([one["came"] for one in inbound])
    there = came > 0
    latency_ms = ((came - out["sent"][None, :])[there]) / 1e6
    cpu_s = float(out["cpu_s"]) + sum(float(one["cpu_s"]) for one in inbound)
    return Figures(
        delivered=float(there.mean()),
        p50_ms=float(np.percentile(latency_ms, 50)),
        p99_ms=float(np.percentile(latency_ms, 99)),
        cpu_us=cpu_s / int(there.sum()) * 1e6,
    )


@contextlib.contextmanager
def _process(kind: str, side: Side) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "deploy.bench.publish_side", kind, msgspec.json.encode(side).decode()]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a side of the bench ended with {process.wait()}")
    return line.strip()


def _go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def _end(process: subprocess.Popen[str]) -> None:
    process.communicate()
    if process.returncode:
        raise RuntimeError(f"a side of the bench ended with {process.returncode}")


def _free_endpoint() -> str:
    """An address that the two publishers of a run can take one after the other."""
    with socket.socket() as one, socket.socket() as next_one:
        one.bind(("127.0.0.1", 0))
        next_one.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{one.getsockname()[1]}"
