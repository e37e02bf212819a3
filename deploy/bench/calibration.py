"""A fixed piece of work, timed: printed beside results so that figures of different machines compare."""

from __future__ import annotations

import time

import numpy as np

_MATRIX_SIDE = 256
_PRODUCTS = 200
_LOOP_STEPS = 2_000_000
_REPEATS = 5


def calibration_seconds() -> float:
    """CPU seconds of the calibration kernel: the best of five runs.

    One run is 200 products of 256 x 256 float32 matrices (6.7 GFLOP) and two million steps of plain Python, roughly the
    mixture of the pipeline. CPU seconds count every thread: call it with one BLAS thread (OMP_NUM_THREADS=1).
    """
    return min(_kernel_seconds() for _ in range(_REPEATS))


def _kernel_seconds() -> float:
    started = time.process_time()
    matrix = np.random.default_rng(0).standard_normal((_MATRIX_SIDE, _MATRIX_SIDE), dtype=np.float32) / _MATRIX_SIDE
    product = matrix
    for _ in range(_PRODUCTS):
        product = product @ matrix + matrix
    total = 0
    for step in range(_LOOP_STEPS):
        total += step & 7
    return time.process_time() - started


if __name__ == "__main__":
    print(f"{calibration_seconds():.4f}")  # noqa: T201 -- the figure is this program's output
