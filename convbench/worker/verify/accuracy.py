"""Measures the error of a layer on the random data that is timed, and whether its precision is the requested one."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..layer import PRODUCES, Layer
from ..operators import OPERATORS, reference
from ..spec import Spec
from .draw import Draw
from .elements import GATHERED, at_tap, compared, correlation, pairs_of, places_of
from .integers import Data
from .judge import of_no_image
from .parts import pieces
from .shapes import batched, index_text, widened
from .tolerances import COARSER, EVERYWHERE, PRECISE, error_unit, least_scale, on_timed_data, used_precision


class Accuracy(NamedTuple):
    """The errors of the layer on the data that is timed; `max_error` is in units of the roundoff of the precision used.

    `farthest` names the result with the largest distance from its reference, `distance` is this distance. `everywhere`
    is whether most of its elements differ, and not only a few. `reasons` are the errors for which the layer is wrong:
    too large distances and numbers that are not finite.
    """

    max_error: float
    distance: float
    farthest: str
    everywhere: bool
    reasons: list[str]


def accuracy(
    layer: Layer, results: dict[str, Tensor], random: dict[str, Tensor], precision: str | None = None
) -> Accuracy:
    """The largest errors on the data that is timed, for the `precision` that torch resolved for float32.

    Results that are not finite there are wrong.
    """
    spec = layer.spec
    if spec.is_empty:
        wrong = [of_no_image(name, result)[1] for name, result in results.items()]
        return Accuracy(0.0, 0.0, "", True, [reason for reason in wrong if reason])
    cpu = {name: batched(spec, name, tensor) for name, tensor in random.items()}
    bias, g = cpu.get("bias"), cpu.get("g")
    data = Data(cpu["x"], cpu["weight"], bias, g, OPERATORS[spec.operator].reference(spec))
    draw = Draw(spec.seed + 2)
    largest, distance, farthest, everywhere, reasons = 0.0, 0.0, "", True, []
    for name in PRODUCES[spec.direction]:
        if name not in results:
            continue
        result = batched(spec, name, results[name])
        if not all(math.isfinite(value) for _, part in pieces(result) for value in torch.aminmax(widened(part))):
            at = (~torch.isfinite(results[name])).nonzero()[0]
            reasons.append(f"{name}{index_text(at.tolist())} is {float(results[name][tuple(at)])} on the timed data")
            continue
        errors = _errors(name, result, data, draw, least_scale(spec))
        off = max(error.distance for error in errors)
        allowed = on_timed_data(spec, name)
        if not off <= allowed:
            reasons.append(
                f"{name} is right on integers but wrong on the timed data: {off:.2g} of its norm away from "
                f"the reference, {allowed:.2g} is allowed"
            )
        largest = max(largest, *(error.largest for error in errors))
        if off > distance:
            distance, farthest, everywhere = off, name, _everywhere(errors)
    return Accuracy(largest / error_unit(spec, precision), distance, farthest, everywhere, reasons)


def imprecision(spec: Spec, found: Accuracy, precision: str | None) -> str | None:
    """Why the layer has less precision than requested; None where it has enough."""
    used = used_precision(spec, precision)
    asked = spec.coarsest_dtype if used in (None, "ieee") else used
    allowed = PRECISE.get(asked)
    if allowed is None or found.distance <= allowed:
        return None
    gives = next((coarser for most, coarser in COARSER if found.distance <= most), "bfloat16")
    return (
        f"less precision than {asked}: {found.farthest} is {found.distance:.2g} of its norm away from the reference, "
        f"{allowed:.2g} is allowed; {gives} gives about so much (max_error: {found.max_error:,.0f} roundoffs)"
    )


class Errors(NamedTuple):
    """The errors of a sample: the largest |y - ref| / sum of magnitudes, and ||y - ref|| / ||ref||.

    `each` is |y - ref| divided by the usual |ref|, for every element that sums at least one number other than zero.
    """

    largest: float
    distance: float
    each: Tensor


def _errors(name: str, result: Tensor, data: Data, draw: Draw, least: float) -> list[Errors]:
    """The errors of each part of a sample; errors are relative to a scale of at least `least`."""
    if name == "grad_bias":
        assert data.g is not None
        value, scale = reference.grad_bias(data.g), reference.grad_bias(data.g.abs())
        return [relative(result.to(torch.float64), value, scale, data.g.numel() // len(value), least)]
    if name == "grad_weight":
        assert data.g is not None
        found, shape, every = [], data.reference.shape, data.reference.groups
        held, read = data.reference.pair(data.x, data.g)
        points = held.numel() // held.shape[1]
        groups = torch.randperm(every, generator=draw.generator)[: max(1, GATHERED // points)]
        some = torch.randperm(held.shape[1] // every, generator=draw.generator)[: max(1, 4 // len(groups))]
        chosen = (groups.unsqueeze(1), some)
        held = torch.unflatten(held, 1, (every, -1))[:, chosen[0], chosen[1]].flatten(1, 2)
        read = torch.unflatten(read, 1, (every, -1))[:, groups]
        rows = torch.unflatten(result, 0, (every, -1))[chosen].flatten(0, 1)
        for channel, tap in pairs_of(draw, read.shape[2], shape.kernel, 4)[:4]:
            # One channel at a time: a float64 copy of all channels would take longer than the comparison.
            plane = read[:, :, channel]
            at = (shape, len(groups), tap, torch.zeros(1, dtype=torch.int64), torch.float64)
            value = reference.grad_weight_elements(held, plane, *at)
            scale = reference.grad_weight_elements(held.abs(), plane.abs(), *at)
            column = at_tap(rows, tap)[:, channel].to(torch.float64)
            found.append(relative(column, value[:, 0], scale[:, 0], points, least))
        return found
    of = correlation(data, name)
    places = places_of(of, draw, GATHERED // 2)
    read = reference.patches(of.source, of.taps, places).to(torch.float64)
    value = reference.products(read, of.weight, places)
    if reference.meetings(of.taps) == 1:
        read = read.abs_()
    else:  # elements that one tap sums can cancel, so take their magnitudes before
        read = reference.patches(of.source.abs(), of.taps, places).to(torch.float64)
    scale = reference.products(read, of.weight, places, magnitudes=True)
    if of.bias is not None:
        added = torch.unflatten(of.bias.to(torch.float64), 0, (data.reference.groups, -1))[:, places.channels]
        value, scale = value + added, scale + added.abs()
    summed = of.weight[0, :, 0].numel()
    found_there = compared(result, places, value).found
    return [relative(found_there, value.flatten(), scale.flatten(), summed, least)]


def relative(found: Tensor, value: Tensor, scale: Tensor, terms: int, least: float) -> Errors:
    """The errors of `found` against `value`: sums of `terms` numbers whose magnitudes sum to `scale`.

    A scale is at least `least`, the smallest normal number. With a smaller divisor the dtype's rounding would count as
    a large error. Random terms cancel to about scale / sqrt(terms). A few sums may cancel further by chance, which must
    not count as an error of the kernel.
    """
    off = (found - value).abs()
    usual = max(float(value.norm()), float(scale.norm()) / math.sqrt(terms), least * math.sqrt(len(value)))
    return Errors(
        largest=float((off / scale.clamp(min=least)).max()),
        distance=float(off.norm()) / usual,
        each=off[scale > 0] * (math.sqrt(len(off)) / usual),
    )


def _everywhere(errors: list[Errors]) -> bool:
    """Whether most elements have errors of about the size of the root mean square of all."""
    each = torch.cat([error.each for error in errors])
    return len(each) > 0 and float(each.median()) >= EVERYWHERE * float(each.square().mean().sqrt())
