"""After timing: a layer that went wrong is found, one that stayed right is not flagged."""

from __future__ import annotations

import pytest
import torch
from layers import CPU, DIRECTIONS, HONEST, PLAIN, PRECISION, spec

from convbench.model.problem import Problem
from convbench.worker.layer import Layer
from convbench.worker.verify.afterwards import still_right
from convbench.worker.verify.verdict import verify


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", ["plain", "no bias", "unbatched", "same", "groups"])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_a_layer_that_stays_right_passes_at_the_end_and_keeps_its_data(name: str, direction: str) -> None:
    for dtype in ("float32", "bfloat16"):
        layer = Layer(spec(HONEST[name], direction, dtype=dtype), CPU)
        data = {key: tensor.detach().clone() for key, tensor in layer.operands.tensors().items()}
        before = layer.results()
        assert still_right(layer, before) is None
        assert all(torch.equal(data[key], tensor) for key, tensor in layer.operands.tensors().items())
        assert all(torch.equal(before[key], tensor) for key, tensor in layer.results().items())


@pytest.mark.parametrize("direction", ["forward", "train_step"])
def test_a_layer_that_goes_wrong_while_it_is_timed_is_found(direction: str) -> None:
    layer = Layer(spec(PLAIN, direction, "planted:GoesWrong"), CPU)
    assert verify(layer).reason is None
    before = layer.results()
    with layer.mode():
        for _ in range(40):
            layer.step()
    assert "output was right before it was timed" in (still_right(layer, before) or "")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_single_output_that_its_bias_cancels_is_not_flagged_at_the_end(dtype: str) -> None:
    for seed in range(60):
        tiny = Problem(in_channels=1, out_channels=1, kernel_size=(2, 2), input_size=(2, 2))
        layer = Layer(spec(tiny, "forward", dtype=dtype, seed=seed), CPU)
        assert still_right(layer, layer.results()) is None, seed


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_an_imprecise_layer_is_still_right_when_it_has_been_timed(direction: str) -> None:
    layer = Layer(spec(PRECISION, direction, "planted:ComputesInBfloat16"), CPU)
    outcome = verify(layer)
    assert outcome.imprecise is not None
    assert still_right(layer, outcome.results) is None


def test_a_layer_that_goes_wrong_in_its_buffer_while_it_is_timed_is_found() -> None:
    layer = Layer(spec(PLAIN, "forward", "planted:SameBuffer"), CPU)
    outcome = verify(layer)
    layer.module.computes = lambda: False
    assert "output was right before it was timed" in (still_right(layer, outcome.results) or "")
