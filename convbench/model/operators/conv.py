"""Convolutions of any number of spatial dimensions: shapes, what torch refuses, and the amount of work.

The data of each operator are in its file. Nothing here depends on how a layer is run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from convbench import units
from convbench.model.operators.given import PaddingMode, PaddingWord, ProblemSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """One of torch's convolution layers: its class, and its spatial dimensions in the order of torch's tuples."""

    name: str
    dimensions: tuple[str, ...]

    @property
    def rank(self) -> int:
        """The number of spatial dimensions."""
        return len(self.dimensions)

    @property
    def list_form(self) -> str:
        """The form of a number for each dimension in a sweep: `[height, width]`."""
        return f"[{', '.join(self.dimensions)}]"

    def output_size(self, p: ProblemSettings) -> tuple[int, ...]:
        """floor((input + pads - dilation * (kernel - 1) - 1) / stride) + 1, from torch's manual; or as declared."""
        return p.module_output_size or _output_size(_geometry(p))

    def weight_shape(self, p: ProblemSettings) -> tuple[int, ...]:
        """(out_channels, in_channels / groups, *kernel_size)."""
        return (p.out_channels, p.in_channels // p.groups, *p.kernel_size)

    def multiply_adds(self, p: ProblemSettings) -> int:
        """Multiply-adds of one forward pass.

        Taps on padding with zeros are not counted, as in oneDNN's benchdnn. With other padding modes all taps count.
        They also count where a module pads by itself: its taps on padding are not known.
        """
        channels = p.images * p.out_channels * (p.in_channels // p.groups)
        if p.module_output_size is not None:
            return channels * math.prod(p.module_output_size) * math.prod(p.kernel_size)
        return channels * _taps(_geometry(p), p.padding_mode)

    def refusal(self, p: ProblemSettings) -> str | None:
        """Why torch would refuse this layer on its input; None where torch would run it.

        The order is torch's: the constructor's errors first, then those of the first call. Where a module pads by
        itself, its geometry is not known.
        """
        for name, channels in (("in_channels", p.in_channels), ("out_channels", p.out_channels)):
            if channels % p.groups:
                return f"{name} ({channels}) must be divisible by groups ({p.groups})"
        return None if p.module_output_size else _refusal(_geometry(p), p.padding_mode, self.dimensions)

    def channels_last_refusal(self, p: ProblemSettings) -> str | None:
        """Why the input cannot have torch's memory format with the channels last; None where it can."""
        if p.batch_size is not None:
            return None
        image, batch = self.rank + 1, self.rank + 2
        return f"channels_last needs a batch: an unbatched image has {image} dimensions, the format {batch}"


# Results are cached by geometry: it does not include channels and batch, so many layers share one.

_Sides = tuple[int, ...]
_Geometry = tuple[_Sides, _Sides, _Sides, _Sides | PaddingWord, _Sides]


def _geometry(p: ProblemSettings) -> _Geometry:
    return p.input_size, p.kernel_size, p.stride, p.padding, p.dilation


@lru_cache(maxsize=1024)
def half_padding(kernel_size: tuple[int, ...], dilation: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """The padding `half`: dilation * (kernel_size - 1) // 2; at stride 1 odd kernels keep the input's size."""
    each = dilation or (1,) * len(kernel_size)
    return tuple(d * (k - 1) // 2 for k, d in zip(kernel_size, each, strict=True))


@lru_cache(maxsize=4096)
def pads(
    padding: tuple[int, ...] | PaddingWord, kernel_size: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """(before, after) for each spatial dimension; `same` puts the odd element after, as torch does."""
    if padding is PaddingWord.VALID:
        return tuple((0, 0) for _ in kernel_size)
    if isinstance(padding, PaddingWord):
        totals = [d * (k - 1) for d, k in zip(dilation, kernel_size, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    return tuple((p, p) for p in padding)


@lru_cache(maxsize=4096)
def dilated_kernel_size(kernel_size: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    """The extent of the dilated kernel: dilation * (kernel_size - 1) + 1."""
    return tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel_size, strict=True))


@lru_cache(maxsize=4096)
def _output_size(geometry: _Geometry) -> _Sides:
    input_size, kernel_size, stride, padding, dilation = geometry
    around, extents = pads(padding, kernel_size, dilation), dilated_kernel_size(kernel_size, dilation)
    sides = zip(input_size, around, extents, stride, strict=True)
    return tuple((size + sum(pad) - extent) // step + 1 for size, pad, extent, step in sides)


@lru_cache(maxsize=4096)
def _taps(geometry: _Geometry, mode: PaddingMode) -> int:
    """The number of (output, tap) pairs of one channel that count as work."""
    input_size, kernel_size, stride, padding, dilation = geometry
    outputs = _output_size(geometry)
    if mode is not PaddingMode.ZEROS:
        return math.prod(outputs) * math.prod(kernel_size)
    before = [pad[0] for pad in pads(padding, kernel_size, dilation)]
    return math.prod(map(real_taps, input_size, outputs, kernel_size, stride, dilation, before))


@lru_cache(maxsize=4096)
def _refusal(geometry: _Geometry, mode: PaddingMode, dimensions: tuple[str, ...]) -> str | None:
    """Why torch would refuse a layer of this geometry."""
    input_size, kernel_size, stride, padding, dilation = geometry
    if padding is PaddingWord.SAME and any(step != 1 for step in stride):
        return f"padding 'same' is not defined for a stride other than 1, and the stride is {units.pair(stride)}"
    around, extents = pads(padding, kernel_size, dilation), dilated_kernel_size(kernel_size, dilation)
    if mode in (PaddingMode.REFLECT, PaddingMode.CIRCULAR):
        for name, size, pad in zip(dimensions, input_size, around, strict=True):
            if mode is PaddingMode.REFLECT and max(pad) >= size:
                return f"reflect padding must be smaller than the input: {max(pad)} rows at {name} {size}"
            if mode is PaddingMode.CIRCULAR and max(pad) > size:
                return f"circular padding must not wrap around more than once: {max(pad)} rows at {name} {size}"
    padded = tuple(size + sum(pad) for size, pad in zip(input_size, around, strict=True))
    if any(extent > size for extent, size in zip(extents, padded, strict=True)):
        dilated = "" if extents == kernel_size else f", {units.pair(extents)} with dilation"
        kernel = f"the kernel ({units.pair(kernel_size)}{dilated})"
        return f"{kernel} is larger than the padded input ({units.pair(padded)})"
    return None


def real_taps(size: int, out: int, kernel: int, stride: int, dilation: int, before: int) -> int:
    """The number of (output, tap) pairs along one dimension that read the input and not the padding."""
    if out < 1:
        return 0
    below = [_pairs_below(end, out, kernel, stride, dilation) for end in (before, before + size)]
    return below[1] - below[0]


def _pairs_below(end: int, out: int, kernel: int, stride: int, dilation: int) -> int:
    """The number of (output, tap) pairs with output * stride + tap * dilation < end.

    It has no loop, because a kernel may be 2**31 wide.
    """
    whole = min(kernel, max(0, -(((out - 1) * stride - end) // dilation)))  # the taps that are below for all outputs
    some = min(kernel, max(0, -(-end // dilation)))  # the taps that are below for at least one output
    first = end - (some - 1) * dilation + stride - 1  # ceil(n / stride) is (n + stride - 1) // stride
    return out * whole + _floor_sum(some - whole, dilation, first, stride)


def _floor_sum(count: int, factor: int, first: int, divisor: int) -> int:
    """The sum of (factor * i + first) // divisor over i from 0 to count - 1.

    Uses the steps of Euclid's algorithm, like `floor_sum` of the AtCoder Library.
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
