"""The C library's heap, kept from growing with the variety of what is asked of it."""

from __future__ import annotations

import ctypes
import platform
from typing import Final

from deploy.settings import HeapSettings

# Their numbers in glibc's malloc.h.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3


class _HeapFigures(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]


def bound_heap(settings: HeapSettings | None = None) -> bool:
    """Large blocks come from the system and go back to it, from now on; False where this isn't glibc.

    Left to itself glibc takes larger and larger blocks out of its heaps once one has been freed. Networks whose inputs
    differ in length on every call then leave holes of all sizes in every thread's heap, and what is kept a little longer pins
    them: memory grows by 15 MB an hour while what is in use does not. One heap for all threads would keep 50 MB less, and cost
    7 % of the pipeline's CPU: threads wait for each other at it. Giving free memory back every 10 s would keep 25 MB less on
    average, but make it swing by 90, and its highest value grew by 12 MB an hour all the same.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    chosen = settings or HeapSettings()
    wanted = {_MMAP_THRESHOLD: chosen.mmap_bytes, _TRIM_THRESHOLD: chosen.trim_bytes}
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(option, value) for option, value in wanted.items())


def heap_in_use() -> int | None:
    """Bytes that the program has asked of the heap and not given back, of all threads; None where the heap doesn't tell."""
    figures = getattr(ctypes.CDLL(None), "mallinfo2", None) if platform.libc_ver()[0] == "glibc" else None
    if figures is None:
        return None
    figures.restype = _HeapFigures
    found = figures()
    return int(found.uordblks + found.hblkhd)
