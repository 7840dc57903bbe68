"""One layer, in the names of torch's classes: shapes, what torch refuses, and the amount of work.

The formulas are in model/operators/. This module does not know how a layer is run (see model/case.py) and does not
import torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from convbench.model.operators import of_rank
from convbench.model.operators.conv import Convolution, dilated_kernel_size, pads
from convbench.model.operators.given import PaddingMode, PaddingWord, ProblemSettings

#: Includes the enumerations of its settings, for modules that use problems.
__all__ = ["PRODUCTS", "Direction", "PaddingMode", "PaddingWord", "Problem"]


class Direction(StrEnum):
    """The computation that is timed."""

    FORWARD = "forward"
    BACKWARD = "backward"
    GRAD_INPUT = "grad_input"
    GRAD_WEIGHT = "grad_weight"
    TRAIN_STEP = "train_step"


#: How often each direction does the multiply-adds of a forward pass (docs/measurement.md). backward computes grad_input
#: and grad_weight; train_step adds the forward pass.
PRODUCTS: dict[Direction, int] = {
    Direction.FORWARD: 1,
    Direction.BACKWARD: 2,
    Direction.GRAD_INPUT: 1,
    Direction.GRAD_WEIGHT: 1,
    Direction.TRAIN_STEP: 3,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem(ProblemSettings):
    """One layer's settings and the values computed from them, with the formulas of the operator of its rank."""

    @property
    def operator(self) -> Convolution:
        """The operator that the layer computes."""
        return of_rank(self.rank)

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """(before, after) for each spatial dimension; `same` puts the odd element after, as torch does.

        They follow from `padding`. A module that pads by itself may pad otherwise.
        """
        return pads(self.padding, self.kernel_size, self.dilation)

    @property
    def dilated_kernel_size(self) -> tuple[int, ...]:
        """The extent of the dilated kernel: dilation * (kernel_size - 1) + 1."""
        return dilated_kernel_size(self.kernel_size, self.dilation)

    @property
    def output_size(self) -> tuple[int, ...]:
        """The output's spatial size; below 1 where the kernel does not fit."""
        return self.operator.output_size(self)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(batch_size, in_channels, *input_size), without the first unbatched."""
        return (*self._batch, self.in_channels, *self.input_size)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The weight's shape, that of torch's parameter."""
        return self.operator.weight_shape(self)

    @property
    def bias_shape(self) -> tuple[int, ...] | None:
        """(out_channels,), or None without a bias."""
        return (self.out_channels,) if self.bias else None

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(batch_size, out_channels, *output_size), without the first unbatched."""
        return (*self._batch, self.out_channels, *self.output_size)

    @property
    def parameters(self) -> int:
        """The number of parameters of the layer: weights and biases."""
        return math.prod(self.weight_shape) + (self.out_channels if self.bias else 0)

    @property
    def _batch(self) -> tuple[int, ...]:
        return () if self.batch_size is None else (self.batch_size,)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one forward pass; taps on padding with zeros are not counted."""
        return self.operator.multiply_adds(self)

    def flops(self, direction: Direction) -> int:
        """Floating-point operations of one iteration; a multiply-add is 2, the bias is not counted."""
        return 2 * PRODUCTS[direction] * self.multiply_adds

    def elements_moved(self, direction: Direction) -> int:
        """The elements of all operands, each read once, and of all results, each written once."""
        return _elements_moved(self, direction)

    def refusal(self) -> str | None:
        """Why torch would refuse this layer on its input; None where torch would run it."""
        return self.operator.refusal(self)


@lru_cache(maxsize=65536)
def _elements_moved(problem: Problem, direction: Direction) -> int:
    x, y = math.prod(problem.input_shape), math.prod(problem.output_shape)
    w, b = math.prod(problem.weight_shape), (problem.out_channels if problem.bias else 0)
    forward = x + w + b + y
    backward = (y + x + w) + (x + w + b)
    return {
        Direction.FORWARD: forward,
        Direction.BACKWARD: backward,
        Direction.GRAD_INPUT: y + w + x,
        Direction.GRAD_WEIGHT: y + x + w + b,
        Direction.TRAIN_STEP: forward + backward,
    }[direction]
