"""How much memory an iteration takes beyond its operands and results: kernels' scratch space and copies."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path
from typing import Any

import torch

from .layer import Layer

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # of the resident set, linux/Documentation/filesystems/proc.rst


def peak_bytes(layer: Layer) -> int | None:
    """Bytes at the peak of one iteration less its operands, graph and results; None where the system does not tell.

    On an accelerator by its allocator. On a CPU by the resident set, to some hundred KiB, which needs an allocator that
    gives memory back: an iteration before has loaded code and built what is kept from call to call.
    """
    if layer.operands.x.device.type != "cpu":
        return _on_accelerator(layer)
    layer.results()
    gc.collect()
    _give_back()
    before = _reset()
    if before is None:
        return None
    results = layer.results()
    peak = _status("VmHWM")
    return None if peak is None else max(0, peak - before - _bytes(results))


def _bytes(results: dict[str, torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in results.values())


def _on_accelerator(layer: Layer) -> int | None:
    device = layer.operands.x.device
    backend: Any = getattr(torch, "accelerator", None)
    if not hasattr(backend, "max_memory_allocated"):
        backend = getattr(torch, device.type)
    if not hasattr(backend, "max_memory_allocated"):
        return None
    layer.results()
    backend.synchronize(device)
    backend.reset_peak_memory_stats(device)
    before: int = backend.memory_allocated(device)
    results = layer.results()
    backend.synchronize(device)
    peak: int = backend.max_memory_allocated(device)
    return max(0, peak - before - _bytes(results))


def _give_back() -> None:
    """Have the C library return free memory to the system (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _reset() -> int | None:
    """Make the peak of the resident set what it is now, and return that; None where it cannot be done."""
    try:
        CLEAR.write_text(RESET_PEAK, encoding="ascii")
    except OSError:
        return None
    return _status("VmRSS")


def _status(name: str) -> int | None:
    """A size from this process's status, bytes."""
    try:
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = next((line.split() for line in lines if line.startswith(f"{name}:")), None)
    return int(found[1]) * 1024 if found else None
