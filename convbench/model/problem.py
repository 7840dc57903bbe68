"""The mathematics of one convolution in `torch.nn.Conv2d`'s own names: shapes, what torch refuses, work counted.

Nothing here knows how a layer is run (see model/case.py) or imports torch. Geometry is held as tuples over the spatial
dimensions, height first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

SPATIAL = ("height", "width")

#: Words for numbers that follow from the rest of a layer: `padding: half` and `groups: depthwise`, as many as channels.
HALF = "half"
DEPTHWISE = "depthwise"


class PaddingMode(StrEnum):
    """What lies around the input, `torch.nn.Conv2d`'s `padding_mode`."""

    ZEROS = "zeros"
    REFLECT = "reflect"
    REPLICATE = "replicate"
    CIRCULAR = "circular"


class PaddingWord(StrEnum):
    """Paddings that stay words: torch runs other code for them than for the same numbers."""

    SAME = "same"
    VALID = "valid"


class Direction(StrEnum):
    """The timed body."""

    FORWARD = "forward"
    BACKWARD = "backward"
    GRAD_INPUT = "grad_input"
    GRAD_WEIGHT = "grad_weight"
    TRAIN_STEP = "train_step"


#: How often each direction does the forward's multiply-adds (measurement.md: grad_input and grad_weight once each,
#: backward both, train_step the forward as well).
PRODUCTS: dict[Direction, int] = {
    Direction.FORWARD: 1,
    Direction.BACKWARD: 2,
    Direction.GRAD_INPUT: 1,
    Direction.GRAD_WEIGHT: 1,
    Direction.TRAIN_STEP: 3,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One convolution. Sizes are in elements; `batch_size` None is one unbatched image (C, H, W)."""

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    input_size: tuple[int, ...]
    stride: tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] | PaddingWord = (0, 0)
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1
    bias: bool = True
    padding_mode: PaddingMode = PaddingMode.ZEROS
    batch_size: int | None = 1

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """(before, after) for each spatial dimension; `same` puts the odd element after, as torch does."""
        return _pads(self.padding, self.kernel_size, self.dilation)

    @property
    def reach(self) -> tuple[int, ...]:
        """The extent of the dilated kernel: dilation * (kernel_size - 1) + 1."""
        return _reach(self.kernel_size, self.dilation)

    @property
    def output_size(self) -> tuple[int, ...]:
        """floor((input + pads - dilation * (kernel - 1) - 1) / stride) + 1, from the `torch.nn.Conv2d` manual."""
        return _output_size(self.input_size, self.pads, self.reach, self.stride)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(N, C_in, H, W), or (C_in, H, W) unbatched."""
        return (*self._batch, self.in_channels, *self.input_size)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(C_out, C_in / groups, kH, kW)."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    @property
    def bias_shape(self) -> tuple[int, ...] | None:
        """(C_out,), or None without a bias."""
        return (self.out_channels,) if self.bias else None

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(N, C_out, H_out, W_out), or (C_out, H_out, W_out) unbatched."""
        return (*self._batch, self.out_channels, *self.output_size)

    @property
    def parameters(self) -> int:
        """Numbers the layer learns: weights and biases."""
        return math.prod(self.weight_shape) + (self.out_channels if self.bias else 0)

    @property
    def _batch(self) -> tuple[int, ...]:
        return () if self.batch_size is None else (self.batch_size,)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one forward pass, real taps only.

        Taps on zero padding are not counted, as in oneDNN's benchdnn; other padding modes multiply real numbers there.
        """
        zeros = self.padding_mode is PaddingMode.ZEROS
        taps = math.prod(
            _real_taps(size, out, kernel, stride, dilation, pad[0]) if zeros else out * kernel
            for size, out, kernel, stride, dilation, pad in zip(
                self.input_size,
                self.output_size,
                self.kernel_size,
                self.stride,
                self.dilation,
                self.pads,
                strict=True,
            )
        )
        return (self.batch_size or 1) * self.out_channels * (self.in_channels // self.groups) * taps

    def flops(self, direction: Direction) -> int:
        """Floating-point operations of one iteration; a multiply-add is 2, the bias is not counted."""
        return 2 * PRODUCTS[direction] * self.multiply_adds

    def elements_moved(self, direction: Direction) -> int:
        """Elements of every operand read once and of every result written once; times the item size it is bytes."""
        return _elements_moved(self, direction)

    def refusal(self) -> str | None:
        """Why torch would refuse this layer on its input, in plain words; None where it would run it.

        The order is torch's: the constructor's complaints first, then those of the first call.
        """
        for name, channels in (("in_channels", self.in_channels), ("out_channels", self.out_channels)):
            if channels % self.groups:
                return f"{name} ({channels}) must be divisible by groups ({self.groups})"
        if self.padding is PaddingWord.SAME and any(stride != 1 for stride in self.stride):
            return f"padding 'same' is not defined for a stride other than 1, and the stride is {_sides(self.stride)}"
        pads, mode = self.pads, self.padding_mode
        if mode in (PaddingMode.REFLECT, PaddingMode.CIRCULAR):
            for name, size, pad in zip(SPATIAL, self.input_size, pads, strict=True):
                if mode is PaddingMode.REFLECT and max(pad) >= size:
                    return f"reflect padding must be smaller than the input: {max(pad)} rows at {name} {size}"
                if mode is PaddingMode.CIRCULAR and max(pad) > size:
                    return f"circular padding must not wrap around more than once: {max(pad)} rows at {name} {size}"
        padded = tuple(size + sum(pad) for size, pad in zip(self.input_size, pads, strict=True))
        if any(reach > size for reach, size in zip(self.reach, padded, strict=True)):
            dilated = "" if self.reach == self.kernel_size else f", {_sides(self.reach)} with dilation"
            return (
                f"the kernel ({_sides(self.kernel_size)}{dilated}) is larger than the padded input ({_sides(padded)})"
            )
        return None


# The geometry of few layers is that of many: channels and batch do not enter it.


@lru_cache(maxsize=1024)
def half_padding(kernel_size: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    """What `half` stands for: dilation * (kernel_size - 1) // 2; at stride 1 odd kernels keep the input's size."""
    return tuple(d * (k - 1) // 2 for k, d in zip(kernel_size, dilation, strict=True))


@lru_cache(maxsize=4096)
def _pads(
    padding: tuple[int, ...] | PaddingWord, kernel_size: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    if padding is PaddingWord.VALID:
        return tuple((0, 0) for _ in kernel_size)
    if isinstance(padding, PaddingWord):
        totals = [d * (k - 1) for d, k in zip(dilation, kernel_size, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    return tuple((p, p) for p in padding)


@lru_cache(maxsize=4096)
def _reach(kernel_size: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel_size, strict=True))


@lru_cache(maxsize=4096)
def _output_size(
    input_size: tuple[int, ...], pads: tuple[tuple[int, int], ...], reach: tuple[int, ...], stride: tuple[int, ...]
) -> tuple[int, ...]:
    sides = zip(input_size, pads, reach, stride, strict=True)
    return tuple((size + sum(pad) - extent) // step + 1 for size, pad, extent, step in sides)


@lru_cache(maxsize=65536)
def _real_taps(size: int, out: int, kernel: int, stride: int, dilation: int, before: int) -> int:
    """How many (output, tap) pairs along one dimension read the input and not the padding before or after it."""
    if out < 1:
        return 0
    below = [_pairs_below(end, out, kernel, stride, dilation) for end in (before, before + size)]
    return below[1] - below[0]


def _pairs_below(end: int, out: int, kernel: int, stride: int, dilation: int) -> int:
    """How many (output, tap) pairs have output * stride + tap * dilation < end. No loop: a kernel may be 2**31 wide."""
    whole = min(kernel, max(0, -(((out - 1) * stride - end) // dilation)))  # the taps that are below with all outputs
    some = min(kernel, max(0, -(-end // dilation)))  # those that are below with one at least
    first = end - (some - 1) * dilation + stride - 1  # ceil(n / stride) is (n + stride - 1) // stride
    return out * whole + _floor_sum(some - whole, dilation, first, stride)


def _floor_sum(count: int, factor: int, first: int, divisor: int) -> int:
    """The sum of (factor * i + first) // divisor over i from 0 to count - 1.

    By the steps of Euclid's algorithm, as `floor_sum` of the AtCoder Library does it.
    """
    total = 0
    while True:
        total += count * (count - 1) // 2 * (factor // divisor) + count * (first // divisor)
        factor, first = factor % divisor, first % divisor
        end = factor * count + first
        if end < divisor:
            return total
        count, first = divmod(end, divisor)
        factor, divisor = divisor, factor


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


def _sides(values: tuple[int, ...]) -> str:
    return "x".join(str(value) for value in values)
