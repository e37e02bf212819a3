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
