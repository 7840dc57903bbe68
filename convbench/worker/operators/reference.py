"""Sums over the taps of a kernel, computed on the CPU without torch's convolution, and checksums of whole results.

The basis is one table per axis, `taps[m, t, o]`. For coordinate o of the result it holds the coordinate of the source
that the kernel's tap t reads, -1 for a padding zero. Every padding mode is such a table. The gradient with respect to
the input has one too, with the upstream gradient as its source. There a tap can read several (m) output coordinates.

An operator's file says which of these sums its results are. This module does not depend on devices or on the dtypes of
layers, and does not decide what is correct; see verify/.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor

#: Elements of a float64 working copy: 512 KiB, which fits in the second-level cache.
_CHUNK = 1 << 16
#: Elements of filters that are combined at a time: their copy in float64 takes 32 MiB.
_FILTERS = 1 << 22


class Geometry(NamedTuple):
    """Tables between the coordinates of input and output, one per spatial axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    outputs: tuple[int, ...]
    padded: tuple[Tensor, ...]  # (padded size): padded coordinate -> input coordinate, or -1
    forward: tuple[Tensor, ...]  # (1, kernel, output size): -> input coordinate, or -1
    backward: tuple[Tensor, ...]  # (m, kernel, input size): -> output coordinate, or -1


def meetings(taps: tuple[Tensor, ...]) -> int:
    """How many elements of the source one tap can sum: more than 1 where padding repeats elements."""
    return math.prod(table.shape[0] for table in taps)


class Correlation(NamedTuple):
    """result[n, c, p] = bias[c] + sum over channels k and taps t of source[n, k, taps(t, p)] * weight[k, c, t].

    Both the output (source: the input) and the gradient of the input (source: the upstream gradient) are of this form.
    """

    source: Tensor  # (N, groups * summed channels, *spatial)
    weight: Tensor  # (groups, summed channels, result channels, *kernel)
    bias: Tensor | None  # (groups * result channels)
    taps: tuple[Tensor, ...]

    @property
    def size(self) -> tuple[int, ...]:
        """The spatial size of the result."""
        return tuple(table.shape[2] for table in self.taps)


def geometry(
    *,
    input_size: tuple[int, ...],
    output_size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
    mode: str,
) -> Geometry:
    """The tables of a layer; `pads` are (before, after) per axis, `mode` is torch's `padding_mode`."""
    padded = tuple(_padded(size, pad, mode) for size, pad in zip(input_size, pads))
    forward = []
    for table, taps, step, gap, outputs in zip(padded, kernel, stride, dilation, output_size):
        at = torch.arange(outputs) * step + torch.arange(taps).unsqueeze(1) * gap
        forward.append(table[at].unsqueeze(0))
    backward = tuple(_inverse(table[0], size) for table, size in zip(forward, input_size))
    return Geometry(kernel, stride, dilation, output_size, padded, tuple(forward), backward)


class Places(NamedTuple):
    """Elements of a Correlation's result: all `channels` of every group at M (image, position) points."""

    image: Tensor  # (M)
    position: tuple[Tensor, ...]  # (M) per axis
    channels: Tensor  # (T) within a group


def patches(source: Tensor, taps: tuple[Tensor, ...], places: Places) -> Tensor:
    """The elements that the taps read for each place: (M, taps, channels), zeros for padding.

    Where one tap reads several elements, they are summed.
    """
    size, images = source.shape[2:], source.flatten(2)
    found: Tensor | None = None
    for meeting in itertools.product(*(range(table.shape[0]) for table in taps)):
        index = torch.zeros(len(places.image), 1, dtype=torch.int64)
        inside = torch.ones(len(places.image), 1, dtype=torch.bool)
        for table, m, extent, position in zip(taps, meeting, size, places.position):
            axis = table[m][:, position].t()  # (M, k)
            index = (index.unsqueeze(2) * extent + axis.clamp(min=0).unsqueeze(1)).flatten(1)
            inside = (inside.unsqueeze(2) & (axis >= 0).unsqueeze(1)).flatten(1)
        read = images[places.image.unsqueeze(1), :, index] * inside.unsqueeze(2).to(source.dtype)
        read = read.float() if read.dtype == torch.int8 else read  # sums of int8 could be too large for it
        found = read if found is None else found.add_(read)
    assert found is not None
    return found


def products(read: Tensor, weight: Tensor, places: Places, *, magnitudes: bool = False) -> Tensor:
    """Sums over channels and taps of the elements from `patches`: (M, groups, T), in the dtype of `read`.

    With `magnitudes` those of the weights are taken.
    """
    groups, summed = weight.shape[:2]
    chosen = weight.flatten(3)[:, :, places.channels].to(read.dtype)  # (G, K, T, taps)
    chosen = chosen.abs_() if magnitudes else chosen
    columns = chosen.permute(0, 3, 1, 2).reshape(groups, -1, len(places.channels))
    rows = torch.unflatten(read, 2, (groups, summed)).permute(2, 0, 1, 3).reshape(groups, len(read), -1)
    return torch.bmm(rows, columns).transpose(0, 1)


def elements(of: Correlation, places: Places, dtype: torch.dtype) -> Tensor:
    """The result's elements at these places, (M, groups, T), computed in `dtype`."""
    found = products(patches(of.source, of.taps, places).to(dtype), of.weight, places)
    if of.bias is not None:
        found = found + torch.unflatten(of.bias.to(dtype), 0, (of.weight.shape[0], -1))[:, places.channels]
    return found


def gather(source: Tensor, taps: tuple[Tensor, ...]) -> Tensor:
    """Sum over taps of source[..., tap, taps(tap, p)]: (*kernel, *spatial) -> (*size of the result).

    The axes are summed one after the other, last first, so that the work is the sum of the kernel's sides and not their
    product.
    """
    for axis in reversed(range(len(taps))):
        table = taps[axis]
        place = 2 * axis + 1  # dimensions are now (k_0..k_axis, s_0..s_axis, results of later axes...)
        extended = _with_zero(source, place)
        index = table.masked_fill(table < 0, source.shape[place])
        total: Tensor | None = None
        for tap in range(table.shape[1]):
            of_tap = extended.select(axis, tap)
            for row in index[:, tap]:
                part = of_tap.index_select(place - 1, row)
                total = part if total is None else total.add_(part)
        assert total is not None
        source = total
    return source


def checksum(of: Correlation, images: Tensor, channels: Tensor) -> Tensor:
    """Sum over n, c of images[n] * channels[c] * result[n, c, p] for every position p, by linearity, in float64.

    The images are summed first, then the filters, so that only one image and one filter are convolved. That takes
    C * prod(kernel) * positions multiply-adds instead of N * C_out times as many (Freivalds 1977, for convolution).
    """
    groups, _, results = of.weight.shape[:3]
    by_group = channels.to(torch.float64).view(groups, 1, results)
    filters = _combined(of.weight.flatten(3), by_group)  # (G, K, taps)
    planes = _convolved(filters.flatten(0, 1), of.source, images)  # (taps, positions of the source)
    found = gather(planes.view(*(table.shape[1] for table in of.taps), *of.source.shape[2:]), of.taps)
    if of.bias is not None:
        found = found + images.sum() * (channels * of.bias.to(torch.float64)).sum()
    return found


def _convolved(filters: Tensor, source: Tensor, images: Tensor) -> Tensor:
    """Filters (C, taps) times the weighted sum of the images of the source (N, C, *spatial): (taps, positions)."""
    positions = math.prod(source.shape[2:])
    step = max(1, _FILTERS // positions)
    total = torch.zeros(filters.shape[1], positions, dtype=torch.float64)
    for at in range(0, len(filters), step):
        summed = combine(source[:, at : at + step], images, None).flatten(1)
        total.addmm_(filters[at : at + step].t(), summed)
    return total


def _combined(weight: Tensor, by_group: Tensor) -> Tensor:
    """The sum of the filters (G, K, R, taps) of each group with weights (G, 1, R), in float64: (G, K, taps)."""
    groups, summed, results, taps = weight.shape
    step = max(1, _FILTERS // (groups * summed * taps))
    total = torch.zeros(groups, summed, taps, dtype=torch.float64)
    for at in range(0, results, step):
        part = weight[:, :, at : at + step].to(torch.float64)
        total += torch.matmul(by_group[:, :, at : at + step].unsqueeze(1), part).squeeze(2)
    return total


def combine(tensor: Tensor, first: Tensor, second: Tensor | None) -> Tensor:
    """Sum over a of first[a] * tensor[a], or over a, b of first[a] * second[b] * tensor[a, b], in float64."""
    shape, channels_last = tensor.shape, tensor.dim() > 2 and tensor.movedim(1, -1).is_contiguous()
    if second is None:
        return _rows(tensor.reshape(shape[0], -1), first).view(shape[1:])
    if channels_last and not tensor.is_contiguous():  # the rows are channels
        pixels = tensor.movedim(1, -1).reshape(-1, shape[1])
        step = max(1, _CHUNK // shape[1])
        sums = [pixels[at : at + step].to(torch.float64) @ second for at in range(0, len(pixels), step)]
        return (first @ torch.cat(sums).view(shape[0], -1)).view(shape[2:])
    step = max(1, _CHUNK // max(1, tensor[0].numel()))
    total = torch.zeros(math.prod(shape[2:]), dtype=torch.float64)
    for at in range(0, shape[0], step):
        part, weights = tensor[at : at + step], torch.outer(first[at : at + step], second)
        total += _rows(part.reshape(weights.numel(), -1), weights.flatten())
    return total.view(shape[2:])


def _rows(rows: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of rows, in float64; some rows at a time are converted."""
    step = max(1, _CHUNK // max(1, rows.shape[1]))
    total = torch.zeros(rows.shape[1], dtype=torch.float64)
    for at in range(0, len(rows), step):
        total += weights[at : at + step] @ rows[at : at + step].to(torch.float64)
    return total


def grad_bias(g: Tensor) -> Tensor:
    """The gradient (C_out) of the bias: g summed over images and positions, in float64."""
    total = torch.zeros(g.shape[1], dtype=torch.float64)
    for image in g:
        total += image.flatten(1).to(torch.float64).sum(1)
    return total


def grad_weight_elements(
    held: Tensor, read: Tensor, shape: Geometry, groups: int, tap: tuple[int, ...], channels: Tensor, dtype: torch.dtype
) -> Tensor:
    """The weight's gradient [:, channels, tap] as (channels of `held`, T), with `channels` those of `read` in a group.

    It is the sum over images and positions of the element of `held` times the element of `read` at the tap.
    """
    chosen = torch.unflatten(read, 1, (groups, -1))[:, :, channels]  # (N, G, T, *spatial)
    for axis, (table, t) in enumerate(zip(shape.forward, tap)):
        chosen = _select(chosen, 3 + axis, table[0, t])
    left = torch.unflatten(held, 1, (groups, -1)).flatten(3).to(dtype)  # (N, G, Cg, P)
    found = torch.zeros(*left.shape[1:3], len(channels), dtype=dtype)
    for image, taken in zip(left, chosen.flatten(3).to(dtype)):
        found += torch.bmm(image, taken.transpose(1, 2))
    return found.flatten(0, 1)


def grad_weight_checksum(
    held: Tensor, read: Tensor, shape: Geometry, groups: int, first: Tensor, second: Tensor
) -> Tensor:
    """Sum over a, b of first[a] * second[b] * gradient[a, b, t] for every tap t of the weight, (*kernel), in float64.

    Channel a is one of `held`, b one of a group of `read`. Channels are summed first, so that only one multiply-add per
    image, group, position and tap remains.
    """
    axes, images = len(shape.kernel), read.shape[0]
    by_group = first.view(groups, 1, -1)
    found = torch.zeros(math.prod(shape.kernel), dtype=torch.float64)
    elements_per_image = max(read[0].numel(), held[0].numel())
    step = max(1, 4 * _CHUNK // elements_per_image)
    for at in range(0, images, step):
        source = torch.unflatten(read[at : at + step], 1, (groups, -1)).flatten(3)
        summed = torch.unflatten(_weighted(second.view(1, 1, -1), source), 2, read.shape[2:])  # (n, G, *spatial)
        for axis, table in enumerate(shape.padded):
            summed = _select(summed, 2 + axis, table)
        fixed = torch.unflatten(held[at : at + step], 1, (groups, -1)).flatten(3)
        left = torch.unflatten(_weighted(by_group, fixed), 2, shape.outputs)
        scratch = torch.empty_like(left)
        sums = []
        for tap in itertools.product(*(range(side) for side in shape.kernel)):
            view = summed
            for axis in range(axes):
                begin, stride = tap[axis] * shape.dilation[axis], shape.stride[axis]
                last = begin + stride * (shape.outputs[axis] - 1) + 1
                view = view[(slice(None),) * (2 + axis) + (slice(begin, last, stride),)]
            sums.append(torch.mul(view, left, out=scratch).sum())
        found += torch.stack(sums)
    return found.view(shape.kernel)


def _weighted(weights: Tensor, planes: Tensor) -> Tensor:
    """The sum of planes (n, G, C, positions) over channels, with weights (1 or G, 1, C), in float64."""
    if planes.shape[2] == 1:
        return planes.squeeze(2).to(torch.float64) * weights[:, 0]
    step = max(1, _FILTERS // max(1, planes[:, :, 0].numel()))
    total = torch.zeros(*planes.shape[:2], planes.shape[3], dtype=torch.float64)
    for at in range(0, planes.shape[2], step):
        part = planes[:, :, at : at + step].to(torch.float64)
        total += torch.matmul(weights[:, :, at : at + step], part).squeeze(2)
    return total


def _padded(size: int, pad: tuple[int, int], mode: str) -> Tensor:
    at = torch.arange(-pad[0], size + pad[1])
    if mode == "zeros":
        return torch.where((at < 0) | (at >= size), torch.full_like(at, -1), at)
    if mode == "replicate":
        return at.clamp(0, size - 1)
    if mode == "circular":
        return at.remainder(size)
    if mode == "reflect":
        folded = at.abs()
        return torch.where(folded >= size, 2 * (size - 1) - folded, folded)
    raise ValueError(f"unknown padding mode {mode!r}")


def _inverse(table: Tensor, size: int) -> Tensor:
    """The inverse of the table (kernel, outputs) -> input: (m, kernel, inputs) -> output coordinate, or -1."""
    kernel, outputs = table.shape
    keys = (torch.arange(kernel).unsqueeze(1) * size + table)[table >= 0]
    at = torch.arange(outputs).expand(kernel, outputs)[table >= 0]
    keys, order = torch.sort(keys, stable=True)
    rank = torch.arange(len(keys)) - torch.searchsorted(keys, keys)
    many = int(rank.max()) + 1 if len(rank) else 1
    inverse = torch.full((many, kernel * size), -1, dtype=torch.int64)
    inverse[rank, keys] = at[order]
    return inverse.view(many, kernel, size)


def _with_zero(tensor: Tensor, axis: int) -> Tensor:
    """The tensor with an additional slice of zeros at the end of `axis`, which index -1 is mapped to."""
    shape = list(tensor.shape)
    shape[axis] = 1
    return torch.cat([tensor, tensor.new_zeros(shape)], dim=axis)


def _select(tensor: Tensor, axis: int, table: Tensor) -> Tensor:
    """tensor[table] along `axis`, zero where the table is -1."""
    inside = (table >= 0).nonzero().flatten().tolist()
    if not inside:
        return tensor.new_zeros([*tensor.shape[:axis], len(table), *tensor.shape[axis + 1 :]])
    first, last = inside[0], inside[-1]
    run = table[first : last + 1].tolist()
    step = run[1] - run[0] if len(run) > 1 else 1
    if step > 0 and run == list(range(run[0], run[-1] + 1, step)):  # a slice: many times faster than index_select
        read = tensor[(slice(None),) * axis + (slice(run[0], run[-1] + 1, step),)]
        if len(run) == len(table):
            return read
        found = tensor.new_zeros([*tensor.shape[:axis], len(table), *tensor.shape[axis + 1 :]])
        found.narrow(axis, first, len(run)).copy_(read)
        return found
    if len(inside) == len(table):
        return tensor.index_select(axis, table)
    return _with_zero(tensor, axis).index_select(axis, table.masked_fill(table < 0, tensor.shape[axis]))
