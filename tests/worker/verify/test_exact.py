"""A layer on integers: buffers that are handed out again, thin weights, checksums, inexact kernels."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from layers import CPU, DIRECTIONS, PLAIN, run, spec

from convbench.model.problem import Problem
from convbench.worker.layer import Layer
from convbench.worker.verify.afterwards import still_right
from convbench.worker.verify.verdict import Outcome, verify


def test_a_layer_that_keeps_its_last_result_is_found_out() -> None:
    assert run(PLAIN, "forward", "Memo").reason is not None


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
@pytest.mark.parametrize(
    ("module", "direction", "names"),
    [
        ("SameBuffer", "forward", "output"),
        ("SameGradientBuffers", "backward", "grad_input and grad_weight and grad_bias"),
        ("SameGradientBuffers", "grad_input", "grad_input"),
        ("SameGradientBuffers", "grad_weight", "grad_weight and grad_bias"),
    ],
)
def test_the_same_buffer_at_every_call_is_noted_and_no_mistake(
    module: str, direction: str, names: str, memory_format: str
) -> None:
    layer = Layer(spec(PLAIN, direction, f"planted:{module}", memory_format=memory_format), CPU)
    outcome = verify(layer)
    assert (outcome.reason, outcome.imprecise) == (None, None)
    assert outcome.note == f"returns the same buffer for {names} at every call"
    for _ in range(3):
        layer.results()
    assert still_right(layer, outcome.results) is None
    for is_inexact in (True, False):
        assert verify(layer, is_inexact=is_inexact).reason is None


def test_a_buffer_that_is_handed_out_again_unwritten_is_found() -> None:
    for is_inexact in (False, True):
        outcome = verify(Layer(spec(PLAIN, "forward", "planted:StaleBuffer"), CPU), is_inexact=is_inexact)
        assert "in the next call" in (outcome.reason or "")


def test_a_gradient_that_is_the_upstream_gradient_itself_costs_it_nothing() -> None:
    one = Problem(in_channels=1, out_channels=1, kernel_size=(1, 1), input_size=(5, 6), batch_size=2, bias=False)
    for seed in range(8):
        layer = Layer(spec(one, "grad_input", "planted:UpstreamHandedOut", seed=seed), CPU)
        outcome = verify(layer)
        assert (outcome.reason, outcome.imprecise) == (None, None)
        assert torch.isfinite(layer.operands.g).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(("channels", "filters", "kernel"), [(2048, 1, 1), (2048, 16, 1), (512, 4, 3), (64, 300, 1)])
def test_a_channel_left_out_is_found_however_thin_the_weights(
    dtype: str, channels: int, filters: int, kernel: int
) -> None:
    problem = Problem(
        in_channels=channels, out_channels=filters, kernel_size=(kernel, kernel), input_size=(5, 5), batch_size=2
    )
    assert run(problem, "forward", "Honest", dtype=dtype).reason is None
    assert "output[" in (run(problem, "forward", "DropsLastChannel", dtype=dtype).reason or "")
    assert "grad_weight[" in (run(problem, "grad_weight", "DropsLastChannel", dtype=dtype).reason or "")
    assert run(problem, "grad_input", "DropsLastChannel", dtype=dtype).reason is not None


def test_checksums_find_what_the_sample_leaves_out() -> None:
    """A layer with many more elements than are compared one by one; one of them is wrong."""
    wide = replace(PLAIN, in_channels=16, out_channels=16, input_size=(96, 96), batch_size=4)
    elements = math.prod(wide.output_shape)
    found = 0
    for module, direction, said in (
        ("SlightlyWrong", "forward", "output[3, 15, 48, 32]"),
        ("OneInputGradientWrong", "grad_input", "grad_input["),
        ("OneTapWrong", "grad_weight", "grad_weight[11, "),
    ):
        outcome = run(wide, direction, module)
        assert said in (outcome.reason or "")
        found += outcome.elements
    assert found < elements / 4


def test_inexact_kernels_must_round_to_the_reference_or_are_judged_normwise() -> None:
    def judge(module: str, direction: str = "forward", dtype: str = "float32") -> Outcome:
        return verify(Layer(spec(PLAIN, direction, f"planted:{module}", dtype=dtype), CPU), is_inexact=True)

    assert run(PLAIN, "forward", "Noisy").reason is not None
    for direction in DIRECTIONS:
        outcome = judge("Noisy", direction)
        assert (outcome.method, outcome.reason) == ("rounded", None)
    assert (judge("Honest", dtype="bfloat16").method, judge("Honest", dtype="bfloat16").reason) == ("normwise", None)
    assert "of its norm away" in (judge("PadOffByOne", dtype="bfloat16").reason or "")
    for module in ("PadOffByOne", "OneNan", "AlwaysZero"):
        assert ", should be " in (judge(module).reason or ""), "each element must round to it"
    assert "grad_weight" in (judge("ImageLeftOut", "grad_weight").reason or "")
