"""The memory of an iteration without its operands and results: scratch space and copies of kernels."""

from __future__ import annotations

from typing import Any

import torch

from .layer import Layer

#: The event in torch's profiler of an allocation or, with a negative size, of its release.
MEMORY_EVENT = "[memory]"


def peak_bytes(layer: Layer) -> int | None:
    """Peak memory of one iteration without its operands, graph and results, bytes; None where torch does not report it.

    torch's allocators count it; they also provide oneDNN's scratch space and reordered copies. A previous iteration has
    allocated what is kept between calls.
    """
    layer.results()
    return _on_cpu(layer) if layer.operands.x.device.type == "cpu" else _on_accelerator(layer)


def _on_cpu(layer: Layer) -> int | None:
    """From the allocations and releases that torch's profiler records."""
    try:
        with torch.autograd.profiler.profile(use_kineto=True, profile_memory=True) as profiled:
            results = layer.results()
        events: list[Any] = [e for e in profiled.kineto_results.events() if e.name() == MEMORY_EVENT]
        changes = [(event.start_ns(), event.nbytes()) for event in events]
    except (AttributeError, TypeError):  # an older torch, whose profiler has other names
        return None
    held = peak = 0
    for _, change in sorted(changes, key=lambda found: found[0]):
        held += change
        peak = max(peak, held)
    return max(0, peak - _bytes(results))


def _bytes(results: dict[str, torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in results.values())


def _on_accelerator(layer: Layer) -> int | None:
    device = layer.operands.x.device
    for backend in (getattr(torch, "accelerator", None), getattr(torch, device.type, None)):
        try:
            return _counted(layer, backend, device)
        except (AttributeError, RuntimeError):  # this backend counts no memory, or has too little for another iteration
            continue
    return None


def _counted(layer: Layer, backend: Any, device: torch.device) -> int | None:
    """From the backend's statistics; None where they do not count the operands."""
    backend.synchronize(device)
    backend.reset_peak_memory_stats(device)
    before: int = backend.memory_allocated(device)
    results = layer.results()
    backend.synchronize(device)
    peak: int = backend.max_memory_allocated(device)
    return max(0, peak - before - _bytes(results)) if before > 0 else None
