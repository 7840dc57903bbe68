"""Large tensors in parts, so that working copies of the check take little memory beside the layer."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

#: Elements of a part. Its working copies in float64 take 32 MiB.
PART = 1 << 22


def length(tensor: Tensor, dimension: int) -> int:
    """How many indices of a dimension make a part."""
    each = math.prod(size for at, size in enumerate(tensor.shape) if at != dimension)
    return max(1, PART // max(1, each))


def parts(tensor: Tensor, dimension: int = 0) -> Iterator[tuple[int, Tensor]]:
    """The tensor in parts along a dimension, as views: (the first index, the part)."""
    step = length(tensor, dimension)
    for at in range(0, tensor.shape[dimension], step):
        yield at, tensor.narrow(dimension, at, min(step, tensor.shape[dimension] - at))


def pieces(tensor: Tensor) -> Iterator[tuple[list[int], Tensor]]:
    """The tensor in parts along as many dimensions as it takes: (the first index of each dimension, the part)."""
    if tensor.numel() <= PART:
        yield [0] * tensor.dim(), tensor
        return
    longest = max(range(tensor.dim()), key=lambda at: (tensor.shape[at] > 1, -at))
    for at, part in parts(tensor, longest):
        for inner, piece in pieces(part):
            inner[longest] += at
            yield inner, piece
