"""Finds where a module that pads by itself lays its kernel: how many rows it pads before and after, or cuts off."""

from __future__ import annotations

import torch
from torch import Tensor

from ..layer import Layer
from .exact import fill
from .shapes import batched

#: Digits of a row's number: every dtype holds integers up to here.
_BASE = 128

Pads = tuple[tuple[int, int], ...]


def found_pads(layer: Layer) -> Pads | None:
    """(before, after) for each spatial dimension, below 0 where rows are cut off; None where no output shows it.

    Each filter gets the weight 1 at its first tap and 0 elsewhere. The input holds the number of each row, so the
    output says which row the first tap read. Without an image nothing is before the input. Changes the layer's
    operands.
    """
    spec = layer.spec
    pads = []
    for axis, size in enumerate(spec.input_shape[-len(spec.kernel_size) :]):
        before = 0 if spec.is_empty else _before(_rows_read(layer, axis, size), spec.stride[axis])
        if before is None:
            return None
        outputs = spec.output_shape[axis - len(spec.kernel_size)]
        reach = (outputs - 1) * spec.stride[axis] + spec.dilation[axis] * (spec.kernel_size[axis] - 1) + 1
        pads.append((before, reach - size - before))
    return tuple(pads)


def _rows_read(layer: Layer, axis: int, size: int) -> Tensor:
    """The row of the input that the first tap of each output reads along an axis; -1 where it reads none."""
    rows = torch.arange(size)
    reads = _through_first_tap(layer, axis, torch.ones(size)) > 0
    found, digit = torch.zeros_like(reads, dtype=torch.int64), 1
    while digit <= size - 1:
        found += _through_first_tap(layer, axis, rows.div(digit, rounding_mode="floor") % _BASE).long() * digit
        digit *= _BASE
    return torch.where(reads, found, torch.full_like(found, -1))


def _through_first_tap(layer: Layer, axis: int, values: Tensor) -> Tensor:
    """The largest output at each position of an axis, for an input with these values along the axis."""
    spec, rank = layer.spec, len(layer.spec.kernel_size)
    weight = torch.zeros(spec.weight_shape)
    weight.flatten(1)[:, 0] = 1
    along = values.float().view([-1 if at == axis else 1 for at in range(rank)])
    fill(
        layer,
        {
            "x": along.expand(spec.input_shape),
            "weight": weight,
            "bias": torch.zeros(spec.out_channels),
            "g": torch.zeros(spec.output_shape),
        },
    )
    output = batched(spec, "output", layer.output_of(layer.operands.x)).float()
    return output.transpose(0, 2 + axis).flatten(1).amax(1)


def _before(rows: Tensor, stride: int) -> int | None:
    """The rows before the input, from the row that each output reads. Copies on the padding are outvoted."""
    found = (torch.arange(len(rows)) * stride - rows)[rows >= 0]
    return int(found.mode().values) if len(found) else None
