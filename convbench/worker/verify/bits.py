"""Compares results with each other, without a reference: their bits, a checksum of these, and their distance."""

from __future__ import annotations

import ctypes
import math
import zlib

import torch
from torch import Tensor

from .parts import parts
from .shapes import widened

_C = ctypes.CDLL(None)


def digest(results: dict[str, Tensor]) -> str:
    """A checksum of results that are exact; it does not depend on their memory format, and -0 counts as 0."""
    total = 0
    for name, tensor in sorted(results.items()):
        for _, part in parts(tensor.detach()):
            values = torch.add(part, 0.0).to("cpu").contiguous()
            size = values.numel() * values.element_size()
            total = zlib.crc32((ctypes.c_char * size).from_address(values.data_ptr()), total)
        total = zlib.crc32(f"{name}{tuple(tensor.shape)}".encode(), total)
    return f"{total:08x}"


def same(before: Tensor, after: Tensor) -> bool:
    """Whether both tensors are equal. Compares memory on a CPU, ten times faster than torch compares elements."""
    on_cpu = before.device.type == after.device.type == "cpu"
    return (on_cpu and _lies_alike(before, after) and _same_bytes(before, after)) or torch.equal(before, after)


def _same_bytes(before: Tensor, after: Tensor) -> bool:
    size = ctypes.c_size_t(before.numel() * before.element_size())
    differs: int = _C.memcmp(ctypes.c_void_p(before.data_ptr()), ctypes.c_void_p(after.data_ptr()), size)
    return differs == 0


def _lies_alike(before: Tensor, after: Tensor) -> bool:
    """Whether both have the same strides, with which their elements fill a piece of memory without gaps."""
    reached = 1 + sum((size - 1) * step for size, step in zip(before.shape, before.stride()))
    return before.stride() == after.stride() and before.dtype == after.dtype and reached == before.numel()


def distance(found: Tensor, expected: Tensor, least: float, beside: Tensor | None = None) -> float:
    """||found - expected|| over the larger norm of `expected` and `beside`, which counts as `least` an element."""
    wide = widened(expected)
    norms = [float(torch.linalg.vector_norm(widened(tensor))) for tensor in (expected, beside) if tensor is not None]
    apart = float(torch.linalg.vector_norm(widened(found) - wide))
    return apart / max(*norms, least * math.sqrt(expected.numel()))
