"""The C library's malloc: tests whether it keeps freed memory, and makes it return freed memory to the system."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
from pathlib import Path

import torch

#: More than glibc's setting for one request to the kernel (engine/local.py). A smaller size would hide that glibc maps
#: sizes above its threshold again at each call.
PROBE_BYTES = 72 * 2**20
PAGE_BYTES = 4096
#: One byte in so many is written, at least one in each huge page. All pages would take 37 ms each time they fault.
TOUCHED_BYTES = 16 * PAGE_BYTES


#: Number of allocations before page faults are counted. glibc before 2.38 leaves gaps when it aligns, and finds a
#: suitable place again only after some calls (up to ten were observed).
SETTLING = 16
COUNTED = 4


def keeps_memory() -> bool:
    """Whether memory that is freed and allocated again causes no new page faults: a steady allocator."""
    for _ in range(SETTLING):
        _touch()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(COUNTED):
        _touch()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    trim()
    # Without a steady allocator every page faults, or every huge page (1/512 of them). With one at most a few do.
    return faults < COUNTED * (PROBE_BYTES // PAGE_BYTES // 512)


def _touch() -> None:
    torch.empty(PROBE_BYTES, dtype=torch.uint8)[::TOUCHED_BYTES].fill_(1)


def trim() -> None:
    """Return freed memory to the system, whatever malloc's settings: glibc's malloc_trim; no effect elsewhere.

    A steady allocator would keep the memory of a probe or of earlier layers until the worker ends.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def private_bytes() -> int | None:
    """Private memory that this process has written, bytes (proc(5)); None where the system does not report it."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_Dirty:"))
