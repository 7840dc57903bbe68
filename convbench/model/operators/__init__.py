"""Operators: what torch's layers compute, one file each. To add one, add its file and its line in `OPERATORS`.

worker/operators/ has the worker's part of each operator under the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from convbench.model.operators.conv import Convolution
from convbench.model.operators.conv2d import CONV2D

#: The operators that convbench offers, by the names of their classes in torch.
OPERATORS: Mapping[str, Convolution] = {CONV2D.name: CONV2D}
#: The operator of all sweeps: a sweep does not name one.
DEFAULT_OPERATOR = CONV2D


@cache
def of_rank(rank: int) -> Convolution:
    """The operator of a problem with `rank` spatial dimensions, also of ranks that convbench does not offer."""
    offered = [operator for operator in OPERATORS.values() if operator.rank == rank]
    axes = tuple(f"axis {axis}" for axis in range(rank))
    return offered[0] if offered else Convolution(name=f"torch.nn.Conv{rank}d", dimensions=axes)
