"""Freed memory stays with the process inside, and goes back to the kernel at the end."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROBE = """
import ctypes, pathlib
import numpy as np
from trainer.allocator import freed_memory_kept

def resident_mib():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20

def work():
    np.ones(64 << 20, np.uint8)

if not hasattr(ctypes.CDLL(None), "mallopt"):
    raise SystemExit("no glibc")
before = resident_mib()
work()
outside = resident_mib()
with freed_memory_kept():
    work()
    inside = resident_mib()
after = resident_mib()
work()
print(*(round(value - before) for value in (outside, inside, after, resident_mib())))
"""


def test_memory_is_kept_inside_and_given_back_after() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=60, check=False)
    if "no glibc" in done.stderr:
        pytest.skip("this C library has no mallopt")
    outside, inside, after, again = (int(value) for value in done.stdout.split())
    assert outside < 16 < 48 < inside
    assert max(after, again) < 16
