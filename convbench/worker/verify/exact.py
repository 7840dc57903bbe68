"""Runs a layer several times on small integers, and reports what is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from ..layer import PRODUCES, Layer
from ..spec import Spec
from .bits import digest
from .integers import Data, integers
from .judge import judge, judge_values, number_text
from .shapes import index_text, result_shapes

#: Maximum number of turns of thinned weights: a layer with one filter of 4,000 weights needs 32 turns in bfloat16.
MOST_TURNS = 32
_POISONED_TWICE_BYTES = 2**23
_SPOILED_CALLS = 2  # of a layer that reuses its memory: it may compute only at every second call


class OnIntegers(NamedTuple):
    """The results on integers: shape of the output, number of compared elements, errors, a note about unusual facts.

    `digest` is the checksum of exact results of the first turn, or None.
    """

    shape: tuple[int, ...] | None
    elements: int
    reasons: list[str]
    note: str | None
    digest: str | None = None


def on_integers(layer: Layer, method: str, limit: int) -> OnIntegers:
    """Check the layer on integers whose sums are at most `limit`, in all turns; its operands keep the integers."""
    data = fill_integers(layer, 0, limit)
    _poison(layer)
    first = layer.results()
    shape = tuple(first["output"].shape) if "output" in first else None
    compared, reasons = judge(layer.spec, first, data, method)
    note: str | None = None
    known = digest(first) if method == "exact" and not reasons else None
    if not reasons:
        reasons, reused = _changed(layer, first, data, method)
        note = f"returns the same buffer for {' and '.join(reused)} at every call" if reused else None
    del first
    for turn in range(1, min(data.turns, MOST_TURNS)):
        if not reasons:
            data = fill_integers(layer, turn, limit)
            count, reasons = judge(layer.spec, layer.results(), data, method)
            compared += count
    return OnIntegers(shape, compared, reasons, note, None if reasons else known)


def changed_text(name: str, before: Tensor, after: Tensor) -> str:
    """`output[0, 1] was 3 and is 4 in the next`: the first element that differs."""
    at = (~(before == after)).nonzero()[0]
    was, now = (number_text(float(tensor[tuple(at)])) for tensor in (before, after))
    return f"{name}{index_text(at.tolist())} was {was} and is {now} in the next"


def fill_integers(layer: Layer, turn: int, limit: int) -> Data:
    """Copy the integers of a turn into the layer's operands."""
    data = integers(layer.spec, turn, limit)
    with torch.no_grad():
        fill(layer, {"x": data.x, "weight": data.weight, "bias": data.bias, "g": data.g})
    return data


def fill(layer: Layer, values: Mapping[str, Tensor | None]) -> None:
    """Copy values into the layer's tensors, whatever their memory format, and build its graph again.

    It copies through `data`, which does not change the tensors' versions. So a layer that caches its last result by
    these versions gives a wrong result.
    """
    for name, tensor in layer.operands.tensors().items():
        value = values[name]
        assert value is not None
        tensor.data.copy_(value.view(tensor.shape) if value.shape != tensor.shape else value)
    for leaf in (layer.operands.x, *layer.module.parameters()):
        leaf.grad = None
    layer.rebuild()


def _poison(layer: Layer) -> None:
    """Leave NaN in freed memory of each result's size, which the allocator reuses: unwritten elements are then NaN."""
    spec = layer.spec
    shapes = result_shapes(spec)
    for name in PRODUCES[spec.direction]:
        size = math.prod(shapes[name])
        x = layer.operands.x
        dtype = getattr(torch, spec.compute_dtype) if name == "output" else x.dtype
        copies = 2 if size * x.element_size() <= _POISONED_TWICE_BYTES else 1
        held = [torch.full((size,), math.nan, dtype=dtype, device=x.device) for _ in range(copies)]
        del held


def _changed(layer: Layer, first: dict[str, Tensor], data: Data, method: str) -> tuple[list[str], list[str]]:
    """What differs in a second call with the same numbers, and the results that use the same memory again.

    The first result in such memory is overwritten, so the second one is checked instead. Before further calls it is
    overwritten with NaN, so that a layer is found which returns it again without computing.
    """
    spec = layer.spec
    _poison(layer)
    again = layer.results()
    reasons, reused = [], []
    for name, before in first.items():
        after = again.get(name)
        if after is None or after.shape != before.shape:
            reasons.append(f"{name} has another shape or is missing in the next call")
        elif before.numel() and after.data_ptr() == before.data_ptr():
            reused.append(name)
        elif method == "exact" and not torch.equal(before, after):
            reasons.append(f"{changed_text(name, before, after)} call")
    reasons += _next_call(spec, reused, again, data, method)
    for _ in range(_SPOILED_CALLS if reused else 0):
        if not reasons:
            for name in reused:
                if _may_be_overwritten(again[name], layer):
                    again[name].data.fill_(math.nan)
            again = layer.results()
            reasons = _next_call(spec, reused, again, data, method)
    return reasons, reused


def _next_call(spec: Spec, names: list[str], results: dict[str, Tensor], data: Data, method: str) -> list[str]:
    """The errors of these results of a later call."""
    wrong = [judge_values(spec, name, results[name], data, method)[1] for name in names]
    return [f"{reason}, in the next call" for reason in wrong if reason]


def _may_be_overwritten(tensor: Tensor, layer: Layer) -> bool:
    """False where elements share memory, or for an operand's memory: a gradient may be the upstream gradient."""
    if any(step == 0 and size > 1 for step, size in zip(tensor.stride(), tensor.shape)):
        return False
    begins = tensor.data_ptr()
    for operand in layer.operands.tensors().values():
        at = operand.data_ptr()
        if at <= begins < at + operand.numel() * operand.element_size():
            return False
    return True
