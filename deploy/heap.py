"""The C library's heap, kept from growing with the variety of what is asked of it."""

from __future__ import annotations

import ctypes
import platform
import threading
import time
from functools import cache
from typing import Final

from deploy.settings import HeapSettings

# Their numbers in glibc's malloc.h.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3


def bound_heap(settings: HeapSettings | None = None) -> bool:
    """Large blocks come from the system and go back to it, from now on, and so does what lies free between the others, now and
    then; False where this isn't glibc.

    Left to itself glibc takes larger and larger blocks out of its heaps once one has been freed. Networks whose inputs
    differ in length on every call then leave holes of all sizes in every thread's heap, and what is kept a little longer pins
    them: memory grows by 15 MB an hour while what is in use does not. One heap for all threads would keep 50 MB less, and cost
    7 % of the pipeline's CPU: threads wait for each other at it.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    chosen = settings or HeapSettings()
    wanted = {_MMAP_THRESHOLD: chosen.mmap_bytes, _TRIM_THRESHOLD: chosen.trim_bytes}
    mallopt = ctypes.CDLL(None).mallopt
    bounded = all(mallopt(option, value) for option, value in wanted.items())
    _start_trimming(chosen.trim_every_s)
    return bounded


@cache
def _start_trimming(every_s: float) -> threading.Thread:
    """One thread for the whole process, however often it is asked for."""
    thread = threading.Thread(target=_trim, args=(every_s,), name="heap", daemon=True)
    thread.start()
    return thread


def _trim(every_s: float) -> None:
    while True:
        time.sleep(every_s)
        trim_heap()


def trim_heap() -> None:
    """Gives back what lies free inside the heaps of all threads, where this is glibc."""
    ctypes.CDLL(None).malloc_trim(0)
