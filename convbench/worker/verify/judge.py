"""Compares results on integers with their reference: exactly, or less strictly where a kernel need not be exact."""

from __future__ import annotations

import torch
from torch import Tensor

from ..layer import PRODUCES
from ..operators import reference
from ..spec import Spec
from .draw import Draw
from .elements import Compared, Correlated, GradWeight, checksum_weights, part_of
from .integers import Data
from .parts import pieces
from .shapes import batched, index_text, result_shapes, unlike, widened
from .tolerances import NORMWISE


def judge(spec: Spec, results: dict[str, Tensor], data: Data, method: str) -> tuple[int, list[str]]:
    """The number of compared elements, and the error of each wrong result."""
    shapes = result_shapes(spec)
    compared, reasons = 0, []
    for name in PRODUCES[spec.direction]:
        if name == "grad_bias" and not spec.bias:
            continue
        if name not in results:
            reasons.append(f"{name} is missing, the step did not produce it")
            continue
        wrong = unlike(name, results[name], shapes[name], spec)
        if wrong is None:
            count, wrong = judge_values(spec, name, results[name], data, method)
            compared += count
        if wrong:
            reasons.append(wrong)
    return compared, reasons


def judge_values(spec: Spec, name: str, tensor: Tensor, data: Data, method: str) -> tuple[int, str | None]:
    """The number of compared elements of one result, and its error or None."""
    if spec.is_empty:
        return of_no_image(name, tensor)
    result = batched(spec, name, tensor)
    draw = Draw(spec.seed + 1)
    unbatched = name in ("output", "grad_input") and spec.batch_size is None

    def difference_in(compared: Compared) -> str | None:
        if method == "normwise":
            return _far(name, compared, spec)
        if method == "rounded":
            compared = compared._replace(found=compared.found.round())
        return _difference(name, compared, spec.coarsest_dtype, unbatched)

    if name == "grad_bias":
        assert data.g is not None
        expected = reference.grad_bias(data.g)
        compared = Compared(torch.arange(len(expected)).unsqueeze(1), result.to(torch.float64), expected)
        return len(expected), difference_in(compared)

    part = part_of(name, data)
    work = torch.float32 if part.bound <= 2**24 else torch.float64
    compared = part.sample(result, draw, work)
    reason = difference_in(compared)
    if reason is None and method == "exact":
        fraction = _first_fraction(result)
        if fraction is not None:
            reason = difference_in(part.behind(result, fraction, work))
    if reason is None:
        first, second = checksum_weights(part, draw)
        difference = (reference.combine(result, first, second) - part.checksum(first, second)).abs()
        allowed = 0.0
        if method != "exact":
            spread = float(compared.expected.square().mean().sqrt())
            allowed = 8 * NORMWISE[spec.coarsest_dtype] * spread * float(first.norm() * second.norm())
        flagged = (~(difference <= allowed)).nonzero()
        if len(flagged):
            # An inexact kernel's elements may all differ a little, so only checksums can be named.
            behind = _behind(part, result, flagged[:8], work) if method == "exact" else None
            reason = (behind and difference_in(behind)) or (
                f"{name} has a wrong sum at {index_text(flagged[0].tolist())} of its last dimensions "
                f"({len(flagged)} checksums differ)"
            )
    return len(compared.found), reason


def of_no_image(name: str, tensor: Tensor) -> tuple[int, str | None]:
    """As `judge_values` for an empty batch: output and input gradient have no element, sums over no image are zero."""
    wrong = (~(tensor == 0)).nonzero()
    if not len(wrong):
        return tensor.numel(), None
    at = wrong[0].tolist()
    value = number_text(float(tensor[tuple(at)]))
    return tensor.numel(), f"{name}{index_text(at)} is {value}, should be 0 (the batch is empty)"


def _behind(part: Correlated | GradWeight, result: Tensor, flagged: Tensor, work: torch.dtype) -> Compared:
    """The elements that are summed in these checksums."""
    found = [part.behind(result, torch.cat([torch.zeros(2, dtype=torch.int64), at]), work) for at in flagged]
    return Compared(*(torch.cat(columns) for columns in zip(*found)))


def _difference(name: str, compared: Compared, dtype: str, unbatched: bool) -> str | None:
    """The first wrong element in the order of indices; correct is the expected value, rounded once to the dtype."""
    expected = compared.expected.to(getattr(torch, dtype)).to(torch.float64)
    differs = (~(compared.found == expected)).nonzero().flatten()
    if not len(differs):
        return None
    rows = compared.indices[differs].tolist()
    first = min(range(len(rows)), key=rows.__getitem__)
    at = int(differs[first])
    index = rows[first][1:] if unbatched else rows[first]
    found, right = float(compared.found[at]), float(expected[at])
    count, of = len({tuple(row) for row in rows}), len(compared.found)
    zero = ", all that was compared is zero" if not bool(compared.found.any()) else ""
    value = f"{name}{index_text(index)} is {number_text(found)}, should be {number_text(right)}"
    return f"{value} ({count} of {of} compared elements differ{zero})"


def _far(name: str, compared: Compared, spec: Spec) -> str | None:
    """Why a result that need not be exact is too far from the reference, normwise; NaN counts as too far."""
    allowed = NORMWISE[spec.coarsest_dtype]
    norm = float(compared.expected.norm())
    distance = float((compared.found - compared.expected).norm()) / (norm or 1.0)
    if distance <= allowed:
        return None
    return f"{name} is {distance:.2g} of its norm away from the reference, {allowed:.2g} is allowed"


def _first_fraction(result: Tensor) -> Tensor | None:
    """The index of the first element that is not an integer (NaN included), or None."""
    for begin, part in pieces(result):
        wide = widened(part)
        rounded = wide.round()
        if not torch.equal(rounded, wide):
            return (rounded != wide).nonzero()[0] + torch.tensor(begin)
    return None


def number_text(value: float) -> str:
    """A number with all digits of float32."""
    return f"{value:.9g}"
