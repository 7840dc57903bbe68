"""Iterations that find their operands in memory: copies taken in turn, or a buffer that fills the caches in between."""

from __future__ import annotations

import itertools
import math
from typing import Any, Callable

import torch

from . import host
from .layer import Layer, Operands, Step

#: What is taken for the last-level cache where nothing tells its size, bytes.
UNKNOWN_CACHE_BYTES = 64 * 2**20
#: No more is taken even where more is told: a virtual machine may see the whole host's.
LARGEST_CACHE_BYTES = 256 * 2**20
#: What Python and torch hold around a copy's numbers, which goes through the caches as well; bytes.
OBJECT_BYTES = 5000
#: Copies at most: they are built in each process. Of layers of a few KiB part may stay in a large cache.
MOST_COPIES = 8192
#: How much more than the cache lies between two uses of the same bytes.
BEYOND = 2
#: Tensors that stay in the caches and are named in a note; the others are counted.
MOST_NAMED = 3


def rotating_step(layer: Layer, cache_bytes: int) -> Step:
    """The layer's step on copies of its operands in turn, on a CPU: each has left the caches before its turn comes.

    The results go where the allocator puts them, which is usually still in a cache.
    """
    own = sum(tensor.numel() * tensor.element_size() for tensor in layer.operands.tensors().values())
    count = max(2, min(MOST_COPIES, math.ceil(BEYOND * cache_bytes / (own + OBJECT_BYTES))))
    steps = [_on_copy(layer) for _ in range(count)]
    turn = itertools.cycle(steps).__next__
    return lambda: turn()()


def stays_hot(layer: Layer) -> str | None:
    """What a reader must know of a layer whose steps rotate: tensors of the user's module that stay in the caches.

    None where all that it reads is copied: its input, the upstream gradient, and a weight and a bias of its own.
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
    """The step on a copy of the operands; it hands the module its parameters first where forward is in the step."""
    own: dict[str, Any] = layer.module._parameters  # what `module.weight` reads
    hot = layer.operands
    # What a module of the user's keeps elsewhere stays in the caches, as `stays_hot` tells.
    weight = _copy(hot.weight) if "weight" in own else hot.weight
    bias = _copy(hot.bias) if "bias" in own else hot.bias
    operands = Operands(_copy(hot.x), weight, bias, _copy(hot.g))
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


def _copy(tensor: Any) -> Any:
    """A copy of a tensor with its strides, a leaf that requires a gradient where the tensor does; None of None."""
    return None if tensor is None else tensor.detach().clone().requires_grad_(tensor.requires_grad)


def flush(device: torch.device) -> Callable[[], None]:
    """Fills an accelerator's caches with something else: overwrites a buffer larger than them, then reads it."""
    told = getattr(_properties(device), "L2_cache_size", 0) or UNKNOWN_CACHE_BYTES
    buffer = torch.empty(BEYOND * told // 4, dtype=torch.float32, device=device)

    def fill() -> None:
        buffer.zero_()
        buffer.sum()

    return fill


def _properties(device: torch.device) -> object:
    get = getattr(getattr(torch, device.type, None), "get_device_properties", None)
    return get(device) if get else None


def last_level_cache_bytes() -> int:
    """The largest cache that the processor's first core tells of, within reason."""
    return min(max(host.cache_sizes().values(), default=0) or UNKNOWN_CACHE_BYTES, LARGEST_CACHE_BYTES)
