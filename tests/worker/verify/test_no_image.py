"""An empty batch runs as torch runs it, and is checked: an empty output, and gradients of zero."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from layers import CPU, DIRECTIONS, PLAIN, run, spec

from convbench.model.problem import PaddingMode, PaddingWord, Problem
from convbench.worker.layer import Layer
from convbench.worker.serve import Worker
from convbench.worker.verify.afterwards import still_right
from convbench.worker.verify.verdict import verify

EMPTY = replace(PLAIN, batch_size=0)
WEIGHTS, BIASES = 8 * 6 * 3 * 3, 8
COMPARED = {
    "forward": 0,
    "grad_input": 0,
    "backward": WEIGHTS + BIASES,
    "grad_weight": WEIGHTS + BIASES,
    "train_step": WEIGHTS + BIASES,
}


@pytest.mark.parametrize(
    "problem",
    [
        EMPTY,
        replace(EMPTY, padding=PaddingWord.SAME, groups=2),
        replace(EMPTY, padding_mode=PaddingMode.REFLECT, stride=(2, 1)),
    ],
)
def test_it_is_right_in_every_direction(problem: Problem) -> None:
    for direction, dtype in itertools.product(DIRECTIONS, ("float32", "bfloat16")):
        layer = Layer(spec(problem, direction, dtype=dtype), CPU)
        outcome = verify(layer)
        assert (outcome.reason, outcome.imprecise) == (None, None), direction
        assert (
            outcome.note == "the batch is empty: the check compares shapes, and gradients of weight and bias with zero"
        )
        if problem is EMPTY:
            assert outcome.elements == COMPARED[direction]
        assert outcome.max_error == (0.0 if outcome.elements else None)
        assert outcome.output_shape == problem.output_shape or direction not in ("forward", "train_step")
        assert still_right(layer, outcome.results) is None


def test_a_module_that_pads_by_itself_takes_one() -> None:
    for direction in DIRECTIONS:
        assert run(replace(EMPTY, module_output_size=(11, 12)), direction, "PadsItself").reason is None


def test_gradients_of_no_image_are_zero() -> None:
    for direction in ("backward", "grad_weight", "train_step"):
        reason = run(EMPTY, direction, "GradientOfNothing").reason
        assert reason == "grad_weight[0, 0, 0, 0] is 1, should be 0 (the batch is empty)"
    wrong = run(EMPTY, "forward", "WiderPad").reason
    assert wrong is not None and wrong.startswith("output has shape 0x8x11x13, should be 0x8x9x11")


@pytest.mark.parametrize("cache", ["hot", pytest.param("cold", marks=pytest.mark.slow)])
def test_a_worker_times_it(cache: str) -> None:
    worker = Worker()
    asked = spec(EMPTY, "train_step", cache=cache)._asdict()
    for request in (
        {"op": "prepare", "key": 1, "check": True, "spec": asked},
        {"op": "block", "key": 1, "seconds": 0.001},
        {"op": "verify", "key": 1},
    ):
        answer = worker.answer(request)
        assert (answer["status"], answer.get("reason")) == ("passed", None)
        if request["op"] == "block":
            assert 0 < answer["minimum_s"] < math.inf
