"""Whether the C library's malloc keeps freed memory, found out by trying."""

from __future__ import annotations

import resource

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
    # Without a steady allocator every page faults (or every huge page, a 512th); with one, a handful at most.
    return faults < COUNTED * (PROBE_BYTES // PAGE_BYTES // 512)


def _touch() -> None:
    torch.empty(PROBE_BYTES, dtype=torch.uint8)[::PAGE_BYTES].fill_(1)
