"""The C library's malloc: whether it keeps freed memory, found out by trying, and how to have it let go of it."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
from pathlib import Path

import torch

#: More than glibc is told to ask the kernel for at a time (engine/local.py), which would hide that it maps what is
#: larger than its threshold anew for each call.
PROBE_BYTES = 72 * 2**20
PAGE_BYTES = 4096


#: How often the memory is taken and freed before it counts: glibc before 2.38 leaves gaps when it aligns, and finds a
#: place that fits again only after some calls (up to ten were seen).
SETTLING = 16
COUNTED = 4


def keeps_memory() -> bool:
    """True where memory freed and taken again does not fault anew: a steady allocator."""
    for _ in range(SETTLING):
        _touch()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(COUNTED):
        _touch()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    trim()
    # Without a steady allocator every page faults (or every huge page, a 512th); with one, a handful at most.
    return faults < COUNTED * (PROBE_BYTES // PAGE_BYTES // 512)


def _touch() -> None:
    torch.empty(PROBE_BYTES, dtype=torch.uint8)[::PAGE_BYTES].fill_(1)


def trim() -> None:
    """Give freed memory back to the system now, whatever malloc was told: glibc's malloc_trim, nothing elsewhere.

    A steady allocator would hold what a probe or an earlier group of layers took for as long as the worker lives.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def private_bytes() -> int | None:
    """Bytes that this process wrote and shares with no other (proc(5)); None where the system does not tell."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_Dirty:"))
