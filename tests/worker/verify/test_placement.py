"""Modules that pad by themselves: where they pad is found, and all else is checked as usual."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from layers import CPU, DIRECTIONS, PLAIN, run, spec

from convbench.model.problem import PaddingMode, Problem
from convbench.worker.layer import Layer
from convbench.worker.verify.placement import found_pads
from convbench.worker.verify.verdict import verify

#: PLAIN pads one row and column on each side of 9 x 11.
DECLARED = replace(PLAIN, module_output_size=(11, 12))
FORMATS = ("float32", "bfloat16", "float16", "float64")
#: module, problem, the rows that are read before and after the input; below 0 those that are not read
HONEST = [
    ("PadsItself", DECLARED, ((3, 1), (2, 1))),
    ("PadsItself", replace(DECLARED, batch_size=None, bias=False), ((3, 1), (2, 1))),
    ("PadsItself", replace(DECLARED, stride=(2, 3), module_output_size=(6, 4)), ((3, 1), (2, -1))),
    ("PadsItself", replace(DECLARED, groups=2, dilation=(2, 1), module_output_size=(9, 12)), ((3, 1), (2, 1))),
    ("PadsItself", replace(DECLARED, input_size=(300, 5), module_output_size=(302, 6)), ((3, 1), (2, 1))),
    ("PadsItself", replace(DECLARED, padding=(0, 0), module_output_size=(9, 10)), ((2, 0), (1, 0))),
    ("CutsOff", replace(PLAIN, padding=(0, 0), module_output_size=(5, 8)), ((0, -2), (-1, 0))),
    ("Honest", replace(PLAIN, module_output_size=(9, 11)), ((1, 1), (1, 1))),
    (
        "CutsOff",
        replace(PLAIN, padding_mode=PaddingMode.REFLECT, module_output_size=(7, 10)),
        ((1, -1), (0, 1)),
    ),
]


@pytest.mark.parametrize(("module", "problem", "pads"), HONEST)
def test_padding_is_found_and_the_layer_is_right(
    module: str, problem: Problem, pads: tuple[tuple[int, int], ...]
) -> None:
    for dtype, direction in itertools.product(FORMATS, DIRECTIONS):
        layer = Layer(spec(problem, direction, f"planted:{module}", dtype=dtype), CPU)
        outcome = verify(layer)
        assert (outcome.reason, outcome.imprecise, layer.spec.pads) == (None, None, pads)
        first = (-pads[0][0], -pads[1][0])
        assert outcome.note == f"its first output reads the input from {first} on, which the check takes as right"
        assert outcome.method == "exact" and outcome.elements > 0
        assert outcome.digest is None, "later processes check in full, as they do not know the padding"


def test_finding_the_padding_leaves_the_data_of_the_timing() -> None:
    layer = Layer(spec(DECLARED, "train_step", "planted:PadsItself"), CPU)
    before = {name: tensor.detach().clone() for name, tensor in layer.operands.tensors().items()}
    assert verify(layer).reason is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in layer.operands.tensors().items())
    assert found_pads(layer) == ((3, 1), (2, 1))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_module_that_tells_no_padding_is_not_right(direction: str) -> None:
    problem = replace(DECLARED, module_output_size=(9, 11))
    reason = run(problem, direction, "AlwaysZero").reason
    assert reason is not None and "cannot find where the module pads" in reason


def test_a_wrong_element_is_found_whatever_the_padding() -> None:
    reason = run(DECLARED, "forward", "PadsItselfAndAddsOne").reason
    assert reason is not None and ", 1, 2] is " in reason


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_another_size_than_declared_is_wrong(direction: str) -> None:
    wrong = run(replace(DECLARED, module_output_size=(12, 12)), direction, "PadsItself")
    assert wrong.reason == "output has shape 3x8x11x12, should be 3x8x12x12"
    undeclared = run(PLAIN, direction, "PadsItself")
    declare = "; module_output_size declares the output of a module that pads by itself"
    assert undeclared.reason == f"output has shape 3x8x11x12, should be 3x8x9x11{declare}"
