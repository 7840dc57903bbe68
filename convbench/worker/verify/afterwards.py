"""Whether a layer is still right once it has been timed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..layer import PRODUCES, Layer
from .shapes import widened
from .tolerances import ON_TIMED_DATA, least_scale


def still_right(layer: Layer, before: dict[str, Tensor]) -> str | None:
    """What is wrong where the layer no longer gives the results it gave `before` it was timed; None if all is well.

    The input is negated (the upstream gradient, where gradients are all there is), which negates what is linear in it;
    the operands are put back.
    """
    operands, spec = layer.operands, layer.spec
    turned = operands.x if "output" in PRODUCES[spec.direction] else operands.g
    assert turned is not None
    turned.data.neg_()
    layer.rebuild()
    after = layer.results()
    turned.data.neg_()
    layer.rebuild()
    for name, was in before.items():
        expected = -was
        if name == "output" and operands.bias is not None:
            expected = expected + 2 * operands.bias.detach().to(was.dtype).view(-1, *(1 for _ in spec.kernel_size))
        elif turned is operands.x and name in ("grad_input", "grad_bias"):
            expected = was
        found = after.get(name)
        if found is None or found.shape != was.shape:
            return f"{name} was right before it was timed and has another shape afterwards"
        wide = widened(expected)
        # 2b - y may cancel: what is left of its rounding is held against y itself.
        norm = max(float(torch.linalg.vector_norm(tensor)) for tensor in (wide, widened(was)))
        least = least_scale(spec) * math.sqrt(was.numel())
        distance = float(torch.linalg.vector_norm(widened(found) - wide)) / max(norm, least)
        if not distance <= ON_TIMED_DATA[spec.coarsest_dtype]:
            return f"{name} was right before it was timed and is {distance:.2g} of its norm away from that afterwards"
    return None
