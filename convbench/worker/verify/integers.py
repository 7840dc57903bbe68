"""Random small integers on which a layer must be exact. They are thinned until every order of summation is exact.

docs/checks.md explains why.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..layer import PRODUCES
from ..operators import OPERATORS
from ..operators.conv import Reference
from ..operators.reference import gather, meetings
from ..spec import SIGNIFICANT_BITS, Spec
from .draw import Draw
from .parts import parts

#: float32 on an accelerator: TF32 keeps 11 significant bits.
EXACT_BITS_TF32 = 11
#: Minimum number of weights that thinning leaves per input channel; where that is too many, the upstream gradient is
#: thinned.
LEAST_WEIGHTS = 8


class Data(NamedTuple):
    """The operands of a layer on the CPU, with a batch dimension; `reference` computes the correct results.

    Thinned weights need this number of `turns` until each channel and tap of the kernel has had a weight other than 0.
    """

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    g: Tensor | None
    reference: Reference
    turns: int = 1


def integers(spec: Spec, turn: int = 0, limit: int | None = None) -> Data:
    """Small integers for a layer: x in -2..2, w and g in -1..1 as int8, the bias in -4..4 as float32, on the CPU.

    Elements are set to zero until every partial sum of every result is at most `limit` (None: `exact_limit`). In each
    turn other weights are zero.
    """
    draw = Draw(spec.seed)
    limit = limit or exact_limit(spec)
    produced = PRODUCES[spec.direction]
    reference = OPERATORS[spec.operator].reference(spec)
    filters = reference.filters(_ternary(draw, spec.weight_shape))
    bias = (draw.bits(spec.out_channels, 7) - 3.5).sign() * (draw.bits(spec.out_channels, 3) + 1) if spec.bias else None
    x = draw.bits(math.prod(spec.input_shape), 7, torch.int8).sub_(3).clamp_(-2, 2).view(spec.input_shape)
    g = _ternary(draw, spec.output_shape) if spec.direction != "forward" else None
    x, g = (x, g) if spec.batch_size is not None else (x.unsqueeze(0), None if g is None else g.unsqueeze(0))

    if g is not None and "grad_weight" in produced:
        g = _thin_upstream(draw, g, limit // 2)
    classes = 1
    heavy = g is not None and "grad_input" in produced and _heaviest(g, reference) > limit
    if "output" in produced:
        allowed = (limit - (float(bias.abs().max()) if bias is not None else 0)) // 2
        classes = math.ceil(filters[0].numel() / allowed)
    if heavy:
        of_channel = spec.out_channels // spec.groups * math.prod(spec.kernel_size)
        classes = max(classes, math.ceil(of_channel / max(LEAST_WEIGHTS, limit // meetings(reference.input_taps))))
    turns = _one_class(draw, filters, classes, turn, spec.out_channels // spec.groups)
    if "output" in produced:
        for _, rows in parts(filters.flatten(1)):
            rows.copy_(_thin(draw, rows, (1,), allowed))
    if g is not None and heavy:
        filters, g = _thin_for_grad_input(draw, filters, g, reference, limit)
    return Data(x, reference.weight(filters), bias, g, reference, turns)


def exact_limit(spec: Spec) -> int:
    """The largest sum of magnitudes that every kernel of this dtype and device computes exactly."""
    narrow = spec.compute_dtype == "float32" and not spec.device.startswith("cpu")
    return 1 << (EXACT_BITS_TF32 if narrow else SIGNIFICANT_BITS[spec.coarsest_dtype])


def _ternary(draw: Draw, shape: tuple[int, ...]) -> Tensor:
    """Random numbers of -1, 0, 1, 1. They are asymmetric, so that few sums are zero and hide a wrong factor."""
    return draw.bits(math.prod(shape), 3, torch.int8).sub_(1).clamp_(max=1).view(shape)


def _one_class(draw: Draw, filters: Tensor, classes: int, turn: int, per_group: int) -> int:
    """Set filters to zero except for one class of (channel, tap); each filter of a group has another class.

    The other weights are -1 or 1. Returns the number of turns until each (channel, tap) has had a weight other than 0.
    That is one turn, if a group has at least as many filters, and a filter as many weights, as there are classes.
    """
    if classes == 1:
        return 1
    rows = filters.flatten(1)
    own = torch.randperm(rows.shape[1], generator=draw.generator).remainder(classes).to(torch.int32)
    step = min(per_group, rows.shape[1], classes)
    of_filter = torch.arange(rows.shape[0]).remainder(per_group).unsqueeze(1)
    kept = (-(of_filter + turn * step)).remainder(classes).to(torch.int32)
    for at, part in parts(rows):
        part.masked_fill_(part == 0, 1).mul_(own == kept[at : at + len(part)])
    return math.ceil(classes / step)


def _thin(draw: Draw, values: Tensor, over: tuple[int, ...], allowed: Tensor | float) -> Tensor:
    """`values` of -1, 0, 1 with random zeros, so that the magnitudes summed `over` dimensions are at most `allowed`."""
    most = float(allowed)
    sums = values.abs().sum(over, keepdim=True)
    # The first step aims at four standard deviations of the count below `allowed`; each later step removes 15 %.
    share = (math.sqrt(4 + most) - 2) ** 2 / max(float(sums.max()), 1.0)
    while bool((sums > most).any()):
        values = values * (draw.keep(values, share) | (sums <= most)).to(values.dtype)
        sums = values.abs().sum(over, keepdim=True)
        share = 0.85
    return values


def _thin_upstream(draw: Draw, g: Tensor, allowed: int) -> Tensor:
    """Upstream gradient (N, C, ...) with at most `allowed` non-zeros per channel, spread over all images and positions.

    Each image has allowed // N of them in every channel, at a random place in each of equally long stretches. Where N
    is larger than `allowed`, an image has one in some of the channels. Every image has one if channels * allowed >= N.
    """
    images, channels = g.shape[:2]
    flat = g.flatten(2)
    positions = flat.shape[2]
    if images * positions <= allowed:
        return g
    quota = max(1, allowed // images)
    stretches = (torch.rand(images, channels, quota, generator=draw.generator) + torch.arange(quota)) / quota
    places = (stretches * positions).long().clamp_(max=positions - 1)
    signs = draw.bits(places.numel(), 3).sub_(0.5).sign_().to(g.dtype).view(places.shape)
    if allowed < images:
        turn = (torch.arange(images).unsqueeze(1) - torch.arange(channels) * allowed).remainder(images)
        signs = signs * (turn < allowed).unsqueeze(2)
    return flat.zero_().scatter_(2, places, signs).view(g.shape)


def _thin_for_grad_input(
    draw: Draw, filters: Tensor, g: Tensor, reference: Reference, limit: int
) -> tuple[Tensor, Tensor]:
    """Filters and g, thinned so that every partial sum of grad_input is at most `limit`.

    A sum has at most as many terms as an input channel has weights, times the repetitions by the padding.
    """
    grouped = torch.unflatten(filters, 0, (reference.groups, -1))
    over = (1, *range(3, grouped.dim()))
    allowed = limit // meetings(reference.input_taps)
    sums = sum(part.abs().sum(over) for _, part in parts(grouped, 1))
    if float(torch.as_tensor(sums).max()) <= allowed:
        return filters, g
    if allowed >= LEAST_WEIGHTS:
        return _thin(draw, grouped, over, allowed).view(filters.shape), g
    while _heaviest(g, reference) > limit:  # padding repeats the border so often that no weight would remain
        g = g * draw.keep(g, 0.7).to(g.dtype)
    return filters, g


def _heaviest(g: Tensor, reference: Reference) -> float:
    """The largest sum of magnitudes of g in any element of grad_input; 0 of an empty batch."""
    if not len(g):
        return 0.0
    images = [torch.unflatten(part.abs(), 1, (reference.groups, -1)).sum(2).float() for _, part in parts(g)]
    planes = torch.cat(images).flatten(0, 1)
    kernel = reference.shape.kernel
    taps = planes.view(*(1 for _ in kernel), *planes.shape)
    worst = 0.0
    for plane in taps.unbind(len(kernel)):
        every = plane.expand(*kernel, *plane.shape[len(kernel) :])
        worst = max(worst, float(gather(every, reference.input_taps).max()))
    return worst
