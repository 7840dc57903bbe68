"""The small integers on which a layer must be exact: drawn, and thinned until every order of summation is exact.

docs/checks.md explains why; check.py judges by them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from . import reference
from .layer import SIGNIFICANT_BITS, Spec

#: float32 on an accelerator: TF32 keeps 11 significant bits.
EXACT_BITS_TF32 = 11
#: What each direction produces, in the order of reports; grad_bias only where there is a bias.
PRODUCES = {
    "forward": ("output",),
    "backward": ("grad_input", "grad_weight", "grad_bias"),
    "grad_input": ("grad_input",),
    "grad_weight": ("grad_weight", "grad_bias"),
    "train_step": ("output", "grad_input", "grad_weight", "grad_bias"),
}

#: Weights that thinning leaves of an input channel at least; where that is too many, the upstream gradient is thinned.
LEAST_WEIGHTS = 8


class Data(NamedTuple):
    """The numbers of a layer on the CPU, with a batch dimension; `shape` says how they meet.

    Thinned weights take so many `turns` until each channel and tap of the kernel has met a number that is not zero.
    """

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    g: Tensor | None
    shape: reference.Geometry
    groups: int
    turns: int = 1


def integers(spec: Spec, turn: int = 0, limit: int | None = None) -> Data:
    """Small integers for a layer: x in -2..2, w and g in -1..1, the bias in -4..4, as float32 on the CPU.

    Thinned to zeros until every partial sum of every result is an integer of at most `limit` (None: `exact_limit`);
    which weights are zero differs from turn to turn.
    """
    draw = Draw(spec.seed)
    limit = limit or exact_limit(spec)
    produced = PRODUCES[spec.direction]
    shape = geometry(spec)
    weight = _ternary(draw, spec.weight_shape)
    bias = (draw.bits(spec.out_channels, 7) - 3.5).sign() * (draw.bits(spec.out_channels, 3) + 1) if spec.bias else None
    x = draw.bits(math.prod(spec.input_shape), 7).sub_(3).clamp_(-2, 2).view(spec.input_shape)
    g = _ternary(draw, spec.output_shape) if spec.direction != "forward" else None
    x, g = (x, g) if spec.batch_size is not None else (x.unsqueeze(0), None if g is None else g.unsqueeze(0))

    if g is not None and "grad_weight" in produced:
        g = _thin_upstream(draw, g, limit // 2)
    classes = 1
    heavy = g is not None and "grad_input" in produced and _heaviest(g, shape, spec.groups) > limit
    if "output" in produced:
        allowed = (limit - (float(bias.abs().max()) if bias is not None else 0)) // 2
        classes = math.ceil(math.prod(spec.weight_shape[1:]) / allowed)
    if heavy:
        of_channel = spec.out_channels // spec.groups * math.prod(spec.kernel_size)
        classes = max(classes, math.ceil(of_channel / max(LEAST_WEIGHTS, limit // shape.meetings)))
    weight, turns = _one_class(draw, weight, classes, turn, spec.out_channels // spec.groups)
    if "output" in produced:
        weight = _thin(draw, weight.flatten(1), (1,), allowed).view(spec.weight_shape)
    if g is not None and heavy:
        weight, g = _thin_for_grad_input(draw, weight, g, shape, spec.groups, limit)
    return Data(x.float(), weight.float(), None if bias is None else bias.float(), g, shape, spec.groups, turns)


def exact_limit(spec: Spec) -> int:
    """The largest sum of magnitudes that every kernel of this dtype and device adds up exactly."""
    narrow = spec.compute_dtype == "float32" and not spec.device.startswith("cpu")
    return 1 << (EXACT_BITS_TF32 if narrow else SIGNIFICANT_BITS[spec.coarsest_dtype])


class Draw:
    """Random small integers, eight from each 64-bit number drawn: x alone has millions."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed % 2**63)

    def bits(self, count: int, mask: int) -> Tensor:
        """`count` integers in 0..mask (2**k - 1, at most 127) as float32."""
        words = torch.empty(-(-count // 8), dtype=torch.int64).random_(generator=self.generator)
        return words.view(torch.uint8)[:count].bitwise_and(mask).to(torch.float32)

    def keep(self, like: Tensor, share: float) -> Tensor:
        """A mask in the shape of `like` that is true for about this share of the elements."""
        return torch.rand(like.shape, generator=self.generator) < share


def _ternary(draw: Draw, shape: tuple[int, ...]) -> Tensor:
    """-1, 0, 1, 1: leaning to one side, so that few sums are zero and hide a factor."""
    return draw.bits(math.prod(shape), 3).sub_(1).clamp_(max=1).view(shape)


def _one_class(draw: Draw, weight: Tensor, classes: int, turn: int, per_group: int) -> tuple[Tensor, int]:
    """Every weight put to zero but those of one class of (channel, tap), another class for each filter of a group.

    The rest are -1 or 1. Also returns after how many turns each (channel, tap) has met each class of filters: one, if a
    group has as many filters, and a filter as many weights, as there are classes.
    """
    if classes == 1:
        return weight, 1
    rows = weight.flatten(1)
    own = torch.randperm(rows.shape[1], generator=draw.generator).remainder(classes)
    step = min(per_group, rows.shape[1], classes)
    filters = torch.arange(rows.shape[0]).remainder(per_group).unsqueeze(1)
    kept = (own + filters + turn * step).remainder(classes) == 0
    dense = torch.where(rows == 0, torch.ones_like(rows), rows)
    return (dense * kept).view(weight.shape), math.ceil(classes / step)


def _thin(draw: Draw, values: Tensor, over: tuple[int, ...], allowed: Tensor | float) -> Tensor:
    """`values` of -1, 0, 1 with elements put to zero until the magnitudes summed `over` dimensions are `allowed`."""
    most = float(allowed)
    sums = values.abs().sum(over, keepdim=True)
    # The first cut aims four standard deviations of the count below what is allowed, later ones take 15 % each.
    share = (math.sqrt(4 + most) - 2) ** 2 / max(float(sums.max()), 1.0)
    while bool((sums > most).any()):
        values = values * (draw.keep(values, share) | (sums <= most)).to(values.dtype)
        sums = values.abs().sum(over, keepdim=True)
        share = 0.85
    return values


def _thin_upstream(draw: Draw, g: Tensor, allowed: int) -> Tensor:
    """Upstream gradient (N, C, ...) with at most `allowed` non-zeros per channel, spread over all images and positions.

    Each image keeps allowed // N in every channel, at random places of equal stretches. Where there are more images
    than that, the channels take turns, so that every image has some if channels * allowed reaches the images.
    """
    images, channels = g.shape[:2]
    flat = g.flatten(2)
    positions = flat.shape[2]
    if images * positions <= allowed:
        return g
    quota = max(1, allowed // images)
    stretches = (torch.rand(images, channels, quota, generator=draw.generator) + torch.arange(quota)) / quota
    places = (stretches * positions).long().clamp_(max=positions - 1)
    signs = draw.bits(places.numel(), 3).sub_(0.5).sign_().view(places.shape)
    if allowed < images:
        turn = (torch.arange(images).unsqueeze(1) - torch.arange(channels) * allowed).remainder(images)
        signs = signs * (turn < allowed).unsqueeze(2)
    return torch.zeros_like(flat).scatter_(2, places, signs).view(g.shape)


def _thin_for_grad_input(
    draw: Draw, weight: Tensor, g: Tensor, shape: reference.Geometry, groups: int, limit: int
) -> tuple[Tensor, Tensor]:
    """Weight and g so that every partial sum of grad_input is at most `limit`.

    A sum has at most as many terms as the filters of an input channel have weights (times what padding repeats).
    """
    grouped = torch.unflatten(weight, 0, (groups, -1))
    over = (1, *range(3, grouped.dim()))
    allowed = limit // shape.meetings
    if float(grouped.abs().sum(over).max()) <= allowed:
        return weight, g
    if allowed >= LEAST_WEIGHTS:
        return _thin(draw, grouped, over, allowed).view(weight.shape), g
    while _heaviest(g, shape, groups) > limit:  # padding repeats the border so often that no weight would be left
        g = g * draw.keep(g, 0.7)
    return weight, g


def _heaviest(g: Tensor, shape: reference.Geometry, groups: int) -> float:
    """The most magnitude of g that any element of grad_input adds up."""
    planes = torch.unflatten(g.abs(), 1, (groups, -1)).sum(2).flatten(0, 1)
    taps = planes.view(*(1 for _ in shape.kernel), *planes.shape)
    worst = 0.0
    for plane in taps.unbind(len(shape.kernel)):
        every = plane.expand(*shape.kernel, *plane.shape[len(shape.kernel) :])
        worst = max(worst, float(reference.gather(every, shape.backward).max()))
    return worst


def geometry(spec: Spec) -> reference.Geometry:
    """How input and output coordinates of the layer meet."""
    axes = len(spec.kernel_size)
    return reference.geometry(
        input_size=spec.input_shape[-axes:],
        output_size=spec.output_shape[-axes:],
        kernel=spec.kernel_size,
        stride=spec.stride,
        dilation=spec.dilation,
        pads=spec.pads,
        mode=spec.padding_mode,
    )
