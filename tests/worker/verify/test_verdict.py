"""Every planted mistake is found and named, and no honest layer is flagged."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from layers import CPU, DEEP, DIRECTIONS, DTYPES, GRADIENTS, HONEST, PLAIN, PRECISION, run, spec

from convbench.model.problem import Problem
from convbench.worker.layer import PRODUCES, Layer
from convbench.worker.verify.verdict import verify

FORMATS = tuple(itertools.product(DTYPES, ("contiguous", "channels_last")))
#: Half of them, each dtype and each format: enough where the geometry is what differs.
SOME_FORMATS = (FORMATS[0], FORMATS[3], FORMATS[4], FORMATS[7])
STRIDED = replace(PLAIN, input_size=(9, 9), stride=(1, 2))
FORWARD = ("forward", "train_step")
#: module, problem, directions in which it shows, what the reason says
PLANTED = [
    ("PadOffByOne", PLAIN, FORWARD, "output["),
    ("PadOffByOne", PLAIN, ("backward", "grad_input"), "grad_input["),
    ("PadOffByOne", PLAIN, ("grad_weight",), "grad_weight["),
    ("WiderPad", PLAIN, DIRECTIONS, "output has shape 3x8x11x13, should be 3x8x9x11"),
    ("SwappedStride", STRIDED, DIRECTIONS, "output has shape 3x8x5x9, should be 3x8x9x5"),
    ("SwappedDilation", replace(PLAIN, dilation=(1, 2), padding=(1, 2)), DIRECTIONS, "output has shape 3x8x7x13"),
    ("SlightlyWrong", DEEP, FORWARD, "output[1, 4, 3, 2] is"),
    ("SlightlyWrong", DEEP, ("backward", "grad_input"), "grad_input["),
    ("WrongLastTile", PLAIN, FORWARD, "output[2, "),
    ("WrongLastTile", PLAIN, ("backward", "grad_input"), "grad_input[2, 5, "),
    ("ForgottenBias", PLAIN, FORWARD, "output["),
    ("ForgottenBias", PLAIN, (*GRADIENTS, "grad_weight"), "grad_bias["),
    ("OneNan", PLAIN, FORWARD, "is nan, should be"),
    ("Unsteady", PLAIN, ("forward",), "in the next call"),
    ("Accumulating", PLAIN, ("forward",), "in the next call"),
    ("IntegersOnly", PLAIN, ("forward",), "right on integers but wrong on the timed data"),
    ("Unwritten", PLAIN, FORWARD, "output["),
    ("Unwritten", PLAIN, ("backward", "grad_input"), "grad_input["),
    ("WrongWeightShape", PLAIN, DIRECTIONS, "weight has shape 8x6x4x3, should be 8x6x3x3"),
    ("WrongDtype", PLAIN, DIRECTIONS, "output has dtype float64, should be float32"),
    ("ZeroGradWeight", PLAIN, (*GRADIENTS, "grad_weight"), "grad_weight["),
    ("ZeroGradWeight", PLAIN, (*GRADIENTS, "grad_weight"), "all that was compared is zero"),
    ("ImageLeftOut", PLAIN, (*GRADIENTS, "grad_weight"), "grad_weight["),
    ("OneTapWrong", DEEP, (*GRADIENTS, "grad_weight"), "grad_weight["),
    ("OneInputGradientWrong", DEEP, (*GRADIENTS, "grad_input"), "grad_input["),
    ("WrongGradBias", PLAIN, (*GRADIENTS, "grad_weight"), "grad_bias[0] is"),
    ("UnwrittenGradWeight", PLAIN, (*GRADIENTS, "grad_weight"), "is nan, should be"),
    ("NoGradWeight", PLAIN, ("train_step",), "grad_weight is missing"),
]
CASES = [(module, problem, direction, said) for module, problem, shows, said in PLANTED for direction in shows]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "replicate far" else []) for name in HONEST]
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_honest_layers_pass_and_keep_their_data(name: str) -> None:
    problem = HONEST[name]
    formats = FORMATS if name in ("plain", "groups") else SOME_FORMATS
    for (dtype, memory_format), direction in itertools.product(formats, DIRECTIONS):
        memory_format = "contiguous" if problem.batch_size is None else memory_format
        layer = Layer(spec(problem, direction, dtype=dtype, memory_format=memory_format), CPU)
        before = {key: tensor.detach().clone() for key, tensor in layer.operands.tensors().items()}
        strides = {key: tensor.stride() for key, tensor in layer.operands.tensors().items()}
        outcome = verify(layer)
        told = (dtype, memory_format, direction)
        assert outcome.reason is None, told
        assert outcome.output_shape == problem.output_shape, told
        assert outcome.method == "exact"
        assert outcome.elements > 0
        assert outcome.max_error is not None and 0 <= outcome.max_error < 64, told
        after = layer.operands.tensors()
        assert all(torch.equal(before[key], after[key]) for key in before), told
        assert {key: tensor.stride() for key, tensor in after.items()} == strides


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_right_module_of_the_user_passes(direction: str) -> None:
    assert run(PLAIN, direction, "Honest").reason is None


@pytest.mark.parametrize(("module", "problem", "direction", "said"), CASES)
def test_planted_mistakes_are_caught_and_named(module: str, problem: Problem, direction: str, said: str) -> None:
    outcome = run(problem, direction, module)
    assert outcome.reason is not None
    assert said in outcome.reason
    assert outcome.max_error is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("module", ["ClampsInput", "DropsSmall"])
def test_what_only_real_numbers_show_is_found_on_them(module: str, dtype: str) -> None:
    deep = Problem(in_channels=256, out_channels=8, kernel_size=(3, 3), input_size=(8, 8))
    assert "wrong on the timed data" in (run(deep, "forward", module, dtype=dtype).reason or "")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("module", ["ComputesInBfloat16", "RoundsGradients"])
def test_less_precision_than_asked_for_is_told_and_is_no_wrong_result(module: str, direction: str) -> None:
    outcome = run(PRECISION, direction, module)
    assert outcome.reason is None
    assert outcome.results.keys() == set(PRODUCES[direction])
    if module == "RoundsGradients" and direction == "forward":
        assert outcome.imprecise is None
        return
    assert "less precision than float32: " in (outcome.imprecise or "")
    assert "bfloat16 gives about so much" in (outcome.imprecise or "")
    assert f"max_error: {outcome.max_error:,.0f} roundoffs" in (outcome.imprecise or "")


@pytest.mark.parametrize("problem", [PLAIN, DEEP, PRECISION], ids=["plain", "deep", "many"])
@pytest.mark.parametrize("direction", GRADIENTS)
def test_a_coarse_layer_has_one_status_whatever_its_size(problem: Problem, direction: str) -> None:
    """Where sums of integers are beyond what bfloat16 holds exactly, they are no wrong result either."""
    outcome = run(problem, direction, "ComputesInBfloat16")
    assert outcome.reason is None
    assert outcome.imprecise is not None


def test_a_mistake_in_some_elements_is_no_lack_of_precision() -> None:
    """Exact on the smallest integers, off by little on the timed data: what tells is that most elements are exact."""
    outcome = run(DEEP, "forward", "CutsOffOneChannel")
    assert "output[" in (outcome.reason or "")
    assert outcome.imprecise is None
    clamped = run(DEEP, "forward", "ClampsOutput")
    assert "should be" in (clamped.reason or ""), "and a layer that is exact on the timed data is no coarse one"


def test_a_coarse_layer_that_is_wrong_besides_is_wrong() -> None:
    assert "output[" in (run(PLAIN, "forward", "CoarseAndShifted").reason or "")
