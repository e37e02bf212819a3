from __future__ import annotations

import platform
import subprocess
import sys

import pytest

LARGE_BLOCKS_AFTER_A_FREE = """
import ctypes
import numpy as np
from deploy.heap import bound_heap


class Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "blocks", "mmapped", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]


mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Heap
if {bounded}:
    assert bound_heap()
np.ones(20 << 20, np.uint8)
before = mallinfo().blocks
held = np.ones(12 << 20, np.uint8)
print(mallinfo().blocks - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the heap of another C library is left as it is")
@pytest.mark.parametrize(("bounded", "blocks"), [(True, 1), (False, 0)])
def test_a_large_block_is_the_systems_also_after_a_larger_one_was_freed(bounded: bool, blocks: int) -> None:
    code = LARGE_BLOCKS_AFTER_A_FREE.format(bounded=bounded)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == blocks


FREE_BETWEEN_WHAT_IS_KEPT = """
import threading
import numpy as np
import psutil
from deploy.heap import bound_heap, trim_heap
from deploy.settings import HeapSettings

for _ in range(2):
    bound_heap(HeapSettings(trim_every_s=3600))
assert sum(thread.name == "heap" for thread in threading.enumerate()) == 1
large, kept = [], []
for _ in range(800):
    large.append(np.ones(100_000, np.uint8))
    kept.append(np.ones(1_000, np.uint8))
del large
memory = psutil.Process().memory_info
before = memory().rss
trim_heap()
print(before - memory().rss)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the heap of another C library is left as it is")
def test_what_lies_free_between_what_is_kept_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", FREE_BETWEEN_WHAT_IS_KEPT], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 60_000_000
