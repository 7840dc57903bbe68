"""Iterations that read their operands from memory: with rotating copies, or with a buffer that fills the caches."""

from __future__ import annotations

import itertools
import math
from typing import Any, Callable

import torch

from . import host
from .layer import Layer, Operands, Step, copy_of

#: Assumed size of a CPU's last-level cache where it is unknown, bytes.
UNKNOWN_CACHE_BYTES = 64 * 2**20
#: That of an accelerator, unless it is NVIDIA's, whose L2 is the last. AMD's MI300 has 256 MiB behind its L2.
LEAST_DEVICE_BYTES = 256 * 2**20
#: Largest assumed size, also where the system reports more, bytes: a virtual machine may report the host's whole cache.
LARGEST_CACHE_BYTES = 256 * 2**20
#: Size of the Python and torch objects of a copy, which also use the caches, bytes.
OBJECT_BYTES = 5000
#: Maximum number of copies, which are built in each process. Layers of a few KiB may partly stay in a large cache.
MOST_COPIES = 8192
#: The bytes that are read between two uses of the same operands, as a multiple of the cache's size.
BEYOND = 2
#: Maximum number of tensors that a note names as staying in the caches; the others are counted.
MOST_NAMED = 3


def rotating_step(layer: Layer, cache_bytes: int) -> Step:
    """The layer's step on rotating copies of its operands, on a CPU: a copy leaves the caches before its next use.

    The allocator chooses the memory of the results, which is usually in a cache.
    """
    own = sum(tensor.numel() * tensor.element_size() for tensor in layer.operands.tensors().values())
    count = max(2, min(MOST_COPIES, math.ceil(BEYOND * cache_bytes / (own + OBJECT_BYTES))))
    steps = [_on_copy(layer) for _ in range(count)]
    turn = itertools.cycle(steps).__next__
    return lambda: turn()()


def stays_hot(layer: Layer) -> str | None:
    """A note about a layer on rotating copies: the tensors of the user's module that stay in the caches.

    None where everything that it reads is copied: its input, the upstream gradient, and its parameters `weight` and
    `bias`.
    """
    copied = {"weight", "bias"} & layer.module._parameters.keys()
    own = [(name, tensor) for name, tensor in layer.operands.tensors().items() if name in ("weight", "bias")]
    hot: dict[int, str] = {}  # the first name of each tensor
    for name, tensor in (*own, *layer.module.named_parameters(), *layer.module.named_buffers()):
        if name not in copied:
            hot.setdefault(id(tensor), name)
    if not hot:
        return None
    names = ", ".join([*hot.values()][:MOST_NAMED])
    names += f" and {len(hot) - MOST_NAMED} more" if len(hot) > MOST_NAMED else ""
    return f"not cold: {names}, which the module keeps elsewhere than in its own weight and bias"


def _on_copy(layer: Layer) -> Step:
    """The step on a copy of the operands; where the step includes forward, it first sets the module's parameters."""
    own: dict[str, Any] = layer.module._parameters  # the dict that `module.weight` reads
    hot = layer.operands
    # Other tensors of a user's module stay in the caches; `stays_hot` reports them.
    weight = copy_of(hot.weight) if "weight" in own else hot.weight
    bias = copy_of(hot.bias) if "bias" in own else hot.bias
    operands = Operands(copy_of(hot.x), weight, bias, copy_of(hot.g))
    parameters = {name: tensor for name, tensor in (("weight", weight), ("bias", bias)) if name in own}
    layer.use(operands)
    layer.build_graph(operands)
    step = layer.step_on(operands)
    if layer.spec.direction not in ("forward", "train_step"):
        return step

    use = own.update

    def with_parameters() -> Any:
        use(parameters)
        return step()

    return with_parameters


def flush(device: torch.device) -> Callable[[], None]:
    """A function that replaces the data in an accelerator's caches: it writes and reads a buffer larger than them."""
    known = getattr(_properties(device), "L2_cache_size", 0)
    is_last = bool(known) and device.type == "cuda" and getattr(torch.version, "hip", None) is None
    cache_bytes = known if is_last else max(known, LEAST_DEVICE_BYTES)
    buffer = torch.empty(BEYOND * cache_bytes // 4, dtype=torch.float32, device=device)

    def fill() -> None:
        buffer.zero_()
        buffer.sum()

    return fill


def _properties(device: torch.device) -> object:
    get = getattr(getattr(torch, device.type, None), "get_device_properties", None)
    return get(device) if get else None


def last_level_cache_bytes() -> int:
    """Bytes of the largest cache that the system reports for the first core, at most LARGEST_CACHE_BYTES."""
    return min(max(host.cache_sizes().values(), default=0) or UNKNOWN_CACHE_BYTES, LARGEST_CACHE_BYTES)
