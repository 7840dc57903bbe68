"""Decides whether a layer is correct, on the same callable and tensors that are timed. docs/checks.md explains how."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..layer import Layer
from .accuracy import accuracy, imprecision
from .exact import fill, on_integers
from .integers import exact_limit
from .placement import found_pads
from .shapes import built_output, wrong_build
from .tolerances import COARSEST_EXACT, MOST_ROUNDED, PRECISE


class Outcome(NamedTuple):
    """What the check found; `reason` is None where the layer is correct.

    `max_error` is the largest error in a sample of the data that is timed, in units of roundoff (`error_unit`). It is
    None where the layer was not compared (accuracy.py). `elements` is the number of elements compared individually.
    `results` are the results on the layer's random data, empty where the layer is wrong. `imprecise` is why a correct
    layer has less precision than requested, or None. `note` is an unusual fact that is not an error, or None.
    `digest` is a checksum of the results on integers where these are exact, or None.
    """

    output_shape: tuple[int, ...] | None
    max_error: float | None
    elements: int
    method: str
    reason: str | None
    results: dict[str, Tensor]
    imprecise: str | None = None
    note: str | None = None
    digest: str | None = None


def verify(layer: Layer, *, is_inexact: bool = False, precision: str | None = None) -> Outcome:
    """Verify shapes and values of all results of `layer.step`; afterwards restore the layer's random data.

    `is_inexact` is whether its kernels need not be exact on integers (Winograd, FFT). In float32 and float64 they must
    then round to the reference, in coarser dtypes they are compared normwise.
    `precision` is what torch resolved for float32 (`ieee`, `tf32`, `bf16`), which float32 results may have. Raises the
    exceptions of the step.
    """
    spec = layer.spec
    method = "exact"
    if is_inexact:
        method = "rounded" if spec.coarsest_dtype in ("float32", "float64") else "normwise"
    built = built_output(layer)
    shape = None if built is None else tuple(built.shape)
    misbuilt = wrong_build(layer)
    if misbuilt:
        return Outcome(shape, None, 0, method, misbuilt, {})

    random = {key: tensor.detach().clone() for key, tensor in layer.operands.tensors().items()}
    placed = None
    if spec.pads_itself:
        pads = found_pads(layer)
        if pads is None:
            return Outcome(shape, None, 0, method, _NOT_PLACED, {})
        layer.spec = spec = spec._replace(pads=pads)
        first = tuple(-before for before, _ in pads)
        placed = f"its first output reads the input from {first} on, which the check takes as right"
    limit = min(exact_limit(spec), MOST_ROUNDED) if method == "rounded" else exact_limit(spec)
    exact = on_integers(layer, method, limit)
    may_be_coarse = method == "exact" and spec.coarsest_dtype in PRECISE
    is_coarse = bool(exact.reasons and may_be_coarse and not on_integers(layer, method, COARSEST_EXACT).reasons)
    with torch.no_grad():
        fill(layer, random)
    wrong = Outcome(exact.shape or shape, None, exact.elements, method, "; ".join(exact.reasons), {})
    notes = (_EMPTY if spec.is_empty else placed, exact.note)
    wrong = wrong._replace(note="; ".join(filter(None, notes)) or None)
    if exact.reasons and not is_coarse:
        return wrong
    # Copies, because the layer may return the same memory at its next call.
    results = {name: tensor.detach().clone() for name, tensor in layer.results().items()}
    found = accuracy(layer, results, random, precision)
    imprecise = imprecision(spec, found, precision)
    if is_coarse and (found.reasons or imprecise is None or not found.everywhere):
        return wrong
    if found.reasons:
        return wrong._replace(reason="; ".join(found.reasons))
    why = None if imprecise is None else "; ".join([imprecise, *exact.reasons])
    max_error = found.max_error if exact.elements else None
    # A module that pads by itself is checked in full by each process, which finds its pads again.
    digest = None if spec.pads_itself else exact.digest
    return wrong._replace(max_error=max_error, reason=None, results=results, imprecise=why, digest=digest)


_EMPTY = "the batch is empty: the check compares shapes, and gradients of weight and bias with zero"
_NOT_PLACED = "the output reads the input nowhere through the first tap, so the check cannot find where the module pads"
