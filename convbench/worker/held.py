"""What a layer's operands hold: numbers below the least normal one, and whether torch computes with such numbers."""

from __future__ import annotations

import torch

from .layer import Layer

_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def note(layer: Layer) -> str | None:
    """A note about the denormal numbers with which a layer is timed; None where its settings say all."""
    spec, operands = layer.spec, layer.operands
    tensors = [tensor for tensor in (operands.weight, operands.bias) if tensor is not None]
    of, count = sum(tensor.numel() for tensor in tensors), sum(map(denormals, tensors))
    expected = of if spec.weights == "denormal" else 0
    notes = [f"{count} of {of} weights are denormal"] if count != expected else []
    if (count or "denormal" in (spec.data, spec.weights)) and flushes(operands.x):
        notes.append("denormal numbers are flushed to zero, as the module's code or the environment has set")
    return "; ".join(notes) or None


def denormals(tensor: torch.Tensor) -> int:
    """How many elements are denormal, by their bits: a processor that flushes such numbers compares them as zero."""
    kind = _INTEGERS[tensor.element_size()]
    least = torch.tensor(torch.finfo(tensor.dtype).tiny, dtype=tensor.dtype).view(kind).item()
    bits = tensor.detach().view(kind).bitwise_and(torch.iinfo(kind).max)
    return int(((bits > 0) & (bits < least)).sum())


def flushes(like: torch.Tensor) -> bool:
    """Whether torch flushes denormal results of this dtype on this device to zero, in the thread that calls it."""
    least = torch.full((16,), torch.finfo(like.dtype).tiny, dtype=like.dtype, device=like.device)
    return denormals(least.mul(0.5)) == 0
