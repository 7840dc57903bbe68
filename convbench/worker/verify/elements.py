"""Compares results with their reference: some elements individually, and all of them by checksums."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..operators import reference
from .draw import Draw
from .integers import Data
from .parts import parts

_LARGEST_WEIGHT = 2**13 - 1  # of the checksum: 4096 odd numbers of each sign
#: Number of values that are read for the elements that are compared individually.
GATHERED = 2**17
_GRADIENT_PRODUCTS = 2e7  # multiply-adds for the elements of grad_weight that are compared individually


class Compared(NamedTuple):
    """Elements that are compared individually: indices (n, dimensions), found and expected values in float64."""

    indices: Tensor
    found: Tensor
    expected: Tensor


class Correlated:
    """The output, or the gradient of the input."""

    def __init__(self, data: Data, name: str) -> None:
        self.of = correlation(data, name)
        weight = self.of.weight
        largest = reference.meetings(self.of.taps) * (2 if name == "output" else 1)
        over = (1, *range(3, weight.dim()))
        heaviest = max(float(part.abs().sum(over, dtype=torch.float32).max()) for _, part in parts(weight, 2))
        self.bound = heaviest * largest + (0 if self.of.bias is None else 4)
        self.images, self.results = self.of.source.shape[0], weight.shape[2]
        self.sides = self.images, weight.shape[0] * self.results

    def checksum(self, first: Tensor, second: Tensor) -> Tensor:
        """The correct checksum of the result with these weights."""
        return reference.checksum(self.of, first, second)

    def sample(self, result: Tensor, draw: Draw, work: torch.dtype) -> Compared:
        """All channels at some places, or as many as the budget allows."""
        places = places_of(self.of, draw, GATHERED)
        return self._compare(result, places, work)

    def behind(self, result: Tensor, index: Tensor, work: torch.dtype) -> Compared:
        """Every image and channel at the position of `index` (image, channel, *position)."""
        position = tuple(at.expand(self.images) for at in index[2:])
        return self._compare(
            result, reference.Places(torch.arange(self.images), position, torch.arange(self.results)), work
        )

    def _compare(self, result: Tensor, places: reference.Places, work: torch.dtype) -> Compared:
        expected = reference.elements(self.of, places, work)
        return compared(result, places, expected)


class GradWeight:
    """The gradient of the weight: its first dimension are the rows, its second the columns."""

    def __init__(self, data: Data) -> None:
        assert data.g is not None
        self.held, self.read = data.reference.pair(data.x, data.g)
        self.shape, self.groups = data.reference.shape, data.reference.groups
        self.rows, self.columns = self.sides = self.held.shape[1], self.read.shape[1] // self.groups
        self.bound = 2 * self.held.numel() / self.rows

    def checksum(self, first: Tensor, second: Tensor) -> Tensor:
        """The correct checksum of the result with these weights."""
        return reference.grad_weight_checksum(self.held, self.read, self.shape, self.groups, first, second)

    def sample(self, result: Tensor, draw: Draw, work: torch.dtype) -> Compared:
        """Every row at some pairs of column and tap; at all pairs, where there are few."""
        pairs = pairs_of(draw, self.columns, self.shape.kernel, int(_GRADIENT_PRODUCTS / self.held.numel()))
        parts = [self._compare(result, tap, torch.tensor([channel]), work) for channel, tap in pairs]
        return Compared(*(torch.cat(columns) for columns in zip(*parts)))

    def behind(self, result: Tensor, index: Tensor, work: torch.dtype) -> Compared:
        """Every pair of channels at the tap of `index` (row, column, *tap)."""
        return self._compare(result, tuple(index[2:].tolist()), torch.arange(self.columns), work)

    def _compare(self, result: Tensor, tap: tuple[int, ...], channels: Tensor, work: torch.dtype) -> Compared:
        expected = reference.grad_weight_elements(self.held, self.read, self.shape, self.groups, tap, channels, work)
        found = at_tap(result, tap)[:, channels]
        at = torch.cartesian_prod(torch.arange(self.rows), channels)
        index = torch.cat([at, torch.tensor(tap).expand(len(at), -1)], dim=1)
        return Compared(index, found.flatten().to(torch.float64), expected.flatten().to(torch.float64))


def checksum_weights(part: Correlated | GradWeight, draw: Draw) -> tuple[Tensor, Tensor]:
    """A weight for each index of the result's first dimension, and one for each of its second."""
    first, second = part.sides
    largest = _largest(first * second * part.bound)
    return draw.odd(first, largest), draw.odd(second, largest)


def part_of(name: str, data: Data) -> Correlated | GradWeight:
    """The comparison for the result with this name."""
    return GradWeight(data) if name == "grad_weight" else Correlated(data, name)


def correlation(data: Data, name: str) -> reference.Correlation:
    """The output or the gradient of the input as sums over taps."""
    if name == "output":
        return data.reference.output(data.x, data.weight, data.bias)
    assert data.g is not None
    return data.reference.grad_input(data.g, data.weight)


def compared(result: Tensor, places: reference.Places, expected: Tensor) -> Compared:
    """The elements of `result` (N, C, ...) at these places, with the expected values (M, groups, T)."""
    many, groups, chosen = expected.shape
    channels = (torch.arange(groups).unsqueeze(1) * (result.shape[1] // groups) + places.channels).flatten()
    at = [part.unsqueeze(1) for part in (places.image, *places.position)]
    found = result[(at[0], channels, *at[1:])]
    columns = [at[0].expand(many, groups * chosen), channels.expand(many, -1)]
    columns += [part.expand(many, groups * chosen) for part in at[1:]]
    index = torch.stack(columns, dim=2).flatten(0, 1)
    return Compared(index, found.flatten().to(torch.float64), expected.flatten().to(torch.float64))


def places_of(of: reference.Correlation, draw: Draw, gathered: int) -> reference.Places:
    """Corners, borders and random points, in each image in turn, with as many channels as the budget allows."""
    images, channels, results = of.source.shape[0], of.source.shape[1], of.weight.shape[2]
    size = of.size
    axes = len(size)
    per_place = channels * math.prod(of.weight.shape[3:]) * reference.meetings(of.taps)
    count = max(6 * 2**axes, min(512, gathered // per_place))
    generator = draw.generator
    position = [torch.randint(extent, (count,), generator=generator) for extent in size]
    for corner in range(2**axes):
        for axis in range(axes):
            position[axis][corner] = (size[axis] - 1) * (corner >> axis & 1)
    for border in range(2 * axes):
        position[border // 2][2**axes + border :: 8 * axes] = (size[border // 2] - 1) * (border % 2)
    image = (torch.arange(count) + torch.randint(images, (1,), generator=generator)).remainder(images)
    chosen = max(1, min(results, 2 * gathered // per_place))
    some = torch.arange(results)
    if chosen < results:
        some = torch.randperm(results, generator=generator)[:chosen].sort().values
    return reference.Places(image, tuple(position), some)


def pairs_of(draw: Draw, channels: int, kernel: tuple[int, ...], wanted: int) -> list[tuple[int, tuple[int, ...]]]:
    """Random pairs of (channel, tap), including the first and the last pair; at most 16."""
    total = channels * math.prod(kernel)
    count = min(total, max(2, min(16, wanted)))
    inner = torch.randperm(total, generator=draw.generator)[:count].tolist()
    chosen = sorted({0, total - 1, *inner[: count - 2]})
    found = []
    for flat in chosen:
        tap = []
        for side in reversed(kernel):
            flat, at = divmod(flat, side)
            tap.append(at)
        found.append((flat, tuple(reversed(tap))))
    return found


def at_tap(weight: Tensor, tap: tuple[int, ...]) -> Tensor:
    """The weight's values at one tap, (rows, columns)."""
    for at in tap:
        weight = weight.select(2, at)
    return weight


def _largest(total: float) -> int:
    """The largest weight with which checksums are exact in float64; `total` is the sum of all magnitudes without it."""
    return max(1, min(_LARGEST_WEIGHT, math.isqrt(int(2**53 // max(1, total)))))
