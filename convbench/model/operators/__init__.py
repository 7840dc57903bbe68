"""Operators: what torch's layers compute, a file each. To add one: its file, and its line in `OPERATORS`.

What a worker needs of the same operator stands in worker/operators/ under the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from convbench.model.operators.conv import Convolution
from convbench.model.operators.conv2d import CONV2D

#: The operators that are offered, by the names of their classes in torch.
OPERATORS: Mapping[str, Convolution] = {CONV2D.name: CONV2D}
#: The operator of a sweep, which names none.
DEFAULT_OPERATOR = CONV2D


@cache
def of_rank(rank: int) -> Convolution:
    """The operator of a problem with so many spatial dimensions; the formulas hold for those that are not offered."""
    offered = [operator for operator in OPERATORS.values() if operator.rank == rank]
    axes = tuple(f"axis {axis}" for axis in range(rank))
    return offered[0] if offered else Convolution(name=f"torch.nn.Conv{rank}d", dimensions=axes)
