"""Ctrl-C, and readers and writers that go away: processes of their own, real signals and pipes."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream.prediction import decode

REPOSITORY = Path(__file__).resolve().parents[2]
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `affectstream analyze` with a pipe on each of its three ends."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str | Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "deploy.cli.app", "analyze", *map(str, arguments)]
        pipe = subprocess.PIPE
        # A shell starts what runs in the background with interrupts ignored, and children inherit that.
        inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=REPOSITORY))
        finally:
            signal.signal(signal.SIGINT, inherited)
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_whoever_reads_may_go_away(start: Start, talking_clip: Path) -> None:
    process = start(talking_clip, "--output", "-", "--realtime")  # else all of it is in the pipe before the reader goes
    assert process.stdout is not None
    decode(process.stdout.readline())
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert process.returncode == 141
    assert b"Traceback" not in err
    assert b"affectstream:" not in err


def test_an_interrupt_is_heard_while_a_pipe_that_is_opened_gives_nothing(start: Start) -> None:
    process = start("-")
    assert process.stdin is not None
    # An mp4 whose first box would be a gigabyte; more than a pipe holds, so that some has been read when this returns.
    process.stdin.write(struct.pack(">I4s4sI4s", 20, b"ftyp", b"isom", 0, b"isom") + struct.pack(">I4s", 1 << 30, b"free"))
    process.stdin.write(bytes(200_000))
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130


def test_an_interrupt_while_a_pipe_gives_nothing_leaves_whole_lines_and_shows_the_summary(
    start: Start, talking_clip: Path
) -> None:
    whole = talking_clip.read_bytes()
    process = start("-", "--output", "-")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(whole[: len(whole) // 2])
    process.stdin.flush()
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130  # it would wait for its source for a minute
    # Not `communicate`, which passes by what `readline` has taken into its buffer.
    assert process.stderr is not None
    out, err = process.stdout.read(), process.stderr.read()
    for line in (first, *out.splitlines()):
        assert decode(line).result.status in ("provisional", "final")
    assert b"x real time" in err
    assert b"Traceback" not in err
