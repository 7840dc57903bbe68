"""Checks that a layer is still correct after it was timed."""

from __future__ import annotations

from torch import Tensor

from ..layer import PRODUCES, Layer
from .bits import distance
from .tolerances import ON_TIMED_DATA, least_scale


def still_right(layer: Layer, before: dict[str, Tensor]) -> str | None:
    """What is wrong where the layer no longer gives the results from `before` it was timed, else None.

    The input is negated, which negates the results that are linear in it. Where there are only gradients, the upstream
    gradient is negated. Afterwards the operands are restored.
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
        if not was.numel():
            continue
        # 2b - y may cancel, so its rounding error is compared with the norm of y.
        far = distance(found, expected, least_scale(spec), beside=was)
        if not far <= ON_TIMED_DATA[spec.coarsest_dtype]:
            return f"{name} was right before it was timed and is {far:.2g} of its norm away from that afterwards"
    return None
