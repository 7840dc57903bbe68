"""The integers: every order of summation is exact, and no weight is left out."""

from __future__ import annotations

import pytest
import torch
from layers import HONEST, PLAIN, spec

from convbench.model.problem import PaddingMode, Problem
from convbench.worker.verify.exact import MOST_TURNS
from convbench.worker.verify.integers import exact_limit, integers


@pytest.mark.parametrize("name", HONEST)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_no_sum_of_magnitudes_is_over_what_is_exact(name: str, dtype: str) -> None:
    """By torch's own convolution of the magnitudes: the largest partial sum in any order."""
    problem = HONEST[name]
    asked = spec(problem, "train_step", dtype=dtype)
    data = integers(asked)
    limit = exact_limit(asked)
    mode = "constant" if problem.padding_mode is PaddingMode.ZEROS else str(problem.padding_mode)
    x, weight = (t.abs().double().requires_grad_() for t in (data.x, data.weight))
    (top, bottom), (left, right) = problem.pads
    padded = torch.nn.functional.pad(x, (left, right, top, bottom), mode=mode)
    y = torch.nn.functional.conv2d(padded, weight, None, problem.stride, 0, problem.dilation, problem.groups)
    assert data.g is not None
    grads = torch.autograd.grad(y, (x, weight), data.g.abs().double())
    bias = float(data.bias.abs().max()) if data.bias is not None else 0.0
    assert 0 < float(y.detach().max()) + bias <= limit
    assert all(0 < float(grad.max()) <= limit for grad in grads)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_every_image_and_channel_has_an_upstream_gradient(dtype: str) -> None:
    for name in ("plain", "many images", "large", "depthwise"):
        g = integers(spec(HONEST[name], "grad_weight", dtype=dtype)).g
        assert g is not None
        assert bool(g.flatten(1).any(1).all()), name
        assert bool(g.transpose(0, 1).flatten(1).any(1).all()), name


def test_float32_on_an_accelerator_is_thinned_for_tf32() -> None:
    assert exact_limit(spec(PLAIN)) == 2**24
    assert exact_limit(spec(PLAIN, device="cuda:1")) == 2**11


@pytest.mark.parametrize("direction", ["forward", "train_step"])
@pytest.mark.parametrize(("filters", "groups"), [(1, 1), (8, 1), (8, 4)])
def test_all_turns_together_meet_every_weight(direction: str, filters: int, groups: int) -> None:
    problem = Problem(
        in_channels=160 * groups, out_channels=filters, groups=groups, kernel_size=(3, 3), input_size=(6, 6)
    )
    asked = spec(problem, direction, dtype="bfloat16")
    turns = integers(asked).turns
    met = sum(integers(asked, turn).weight.abs() for turn in range(turns))
    assert 1 < turns < MOST_TURNS
    by_group = torch.unflatten(torch.as_tensor(met), 0, (groups, -1))
    assert bool((by_group.sum(1) > 0).all()), "each channel and tap in some filter of its group"
