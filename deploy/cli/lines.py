"""Predictions as JSON lines, each written through as it comes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType

from deploy.cli.terminal import NobodyReadsError
from stream.errors import AffectstreamError, InputError
from stream.prediction import Prediction, encode

STDOUT = "-"


class LineWriter:
    """One prediction a line, to a file or to standard output (`-`); use as a context manager.

    Raises `InputError` where the file can't be opened, `AffectstreamError` where writing fails, `NobodyReadsError` where
    standard output is closed.
    """

    def __init__(self, target: str, *, source: str | None = None) -> None:
        self._target = target
        if source is not None and Path(source).exists() and Path(target).exists() and Path(source).samefile(target):
            raise InputError(f"output {target}", found="the source itself", fix="choose another file")
        if target == STDOUT and sys.stdout is None:
            raise InputError("output -", found="a closed standard output", fix="name a file, or leave it open")
        try:
            # Unbuffered: a line that could not be written is not tried again when the file is closed.
            self._file = (
                open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)  # noqa: SIM115
                if target == STDOUT
                else Path(target).open("wb", buffering=0)  # noqa: SIM115
            )
        except OSError as error:
            raise InputError(f"output {target}", found=error.strerror, expected="a file that can be written") from error

    def __enter__(self) -> LineWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def write(self, prediction: Prediction) -> None:
        """Writes one line, through to the operating system."""
        try:
            rest = memoryview(encode(prediction) + b"\n")
            while rest:
                rest = rest[self._file.write(rest) :]
        except BrokenPipeError as error:
            raise NobodyReadsError from error
        except OSError as error:
            raise AffectstreamError(f"output {self._target}", found=error.strerror, fix="what fitted stays written") from error
