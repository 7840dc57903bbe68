"""How much memory an iteration takes beyond its operands and results: kernels' scratch space and copies."""

from __future__ import annotations

from typing import Any

import torch

from .layer import Layer

#: What torch's profiler calls an allocation or, with a negative size, its end.
MEMORY_EVENT = "[memory]"


def peak_bytes(layer: Layer) -> int | None:
    """Bytes at the peak of one iteration less its operands, graph and results; None where torch does not tell.

    Counted by torch's allocators, which serve oneDNN's scratch space and reordered copies too. An iteration before has
    built what is kept from call to call.
    """
    layer.results()
    return _on_cpu(layer) if layer.operands.x.device.type == "cpu" else _on_accelerator(layer)


def _on_cpu(layer: Layer) -> int | None:
    """By the allocations and their ends that torch's profiler records."""
    try:
        with torch.autograd.profiler.profile(use_kineto=True, profile_memory=True) as profiled:
            results = layer.results()
        events: list[Any] = [e for e in profiled.kineto_results.events() if e.name() == MEMORY_EVENT]
        changes = [(event.start_ns(), event.nbytes()) for event in events]
    except (AttributeError, TypeError):  # an older torch, whose profiler knows other words
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
    backend: Any = getattr(torch, "accelerator", None)
    if not hasattr(backend, "max_memory_allocated"):
        backend = getattr(torch, device.type)
    if not hasattr(backend, "max_memory_allocated"):
        return None
    backend.synchronize(device)
    backend.reset_peak_memory_stats(device)
    before: int = backend.memory_allocated(device)
    results = layer.results()
    backend.synchronize(device)
    peak: int = backend.max_memory_allocated(device)
    return max(0, peak - before - _bytes(results))
