"""What a forward and a training step are made of, the kinds of layers, and the stages of module paths."""

from __future__ import annotations

import pytest
import synthetic

from convbench.analysis.network.kinds import KINDS, kind_of
from convbench.analysis.network.parts import Part, is_trained, often, whole
from convbench.analysis.network.stages import OTHERS, path_of, stages
from convbench.model.problem import Direction

FORWARD, BACKWARD, GRAD_INPUT, GRAD_WEIGHT, TRAIN_STEP = Direction


@pytest.mark.parametrize(
    ("counts", "step"),
    [
        ({FORWARD: 3, BACKWARD: 3}, {FORWARD: 3, BACKWARD: 3}),
        ({FORWARD: 1, GRAD_WEIGHT: 1}, {FORWARD: 1, GRAD_WEIGHT: 1}),
        ({FORWARD: 3, BACKWARD: 2, GRAD_WEIGHT: 1}, {FORWARD: 3, BACKWARD: 2, GRAD_WEIGHT: 1}),
        ({FORWARD: 2, BACKWARD: 2, GRAD_INPUT: 2, GRAD_WEIGHT: 2}, {FORWARD: 2, BACKWARD: 2}),
        ({FORWARD: 2, GRAD_INPUT: 2, GRAD_WEIGHT: 2}, {FORWARD: 2, GRAD_INPUT: 2, GRAD_WEIGHT: 2}),
        ({FORWARD: 2, BACKWARD: 2, TRAIN_STEP: 2}, {TRAIN_STEP: 2}),
        ({BACKWARD: 4}, {}),
        ({FORWARD: 5}, {FORWARD: 5}),
    ],
)
def test_a_training_step_counts_each_occurrence_once(counts: dict[Direction, int], step: dict[Direction, int]) -> None:
    assert often(Part.STEP, counts) == step
    forward = counts.get(FORWARD)
    assert often(Part.FORWARD, counts) == ({FORWARD: forward} if forward else {})
    assert is_trained(counts) == (step not in ({}, {FORWARD: forward}))


def test_a_backward_without_a_forward_has_a_time_but_no_step() -> None:
    assert whole({BACKWARD: 4, GRAD_WEIGHT: 4}) == {BACKWARD: 4}
    assert whole({GRAD_WEIGHT: 4, GRAD_INPUT: 3}) == {GRAD_INPUT: 3, GRAD_WEIGHT: 4}


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("depthwise", {"groups": 16, "kernel_size": (7, 7)}),
        ("grouped", {"groups": 4}),
        ("dilated", {"dilation": (2, 2)}),
        ("patches (kernel = stride)", {"kernel_size": (4, 4), "stride": (4, 4)}),
        ("large kernel", {"kernel_size": (5, 5)}),
        ("large kernel", {"kernel_size": (1, 7)}),
        ("3x3 strided", {"stride": (2, 2)}),
        ("3x3", {}),
        ("1x1 strided", {"kernel_size": (1, 1), "stride": (2, 2)}),
        ("1x1", {"kernel_size": (1, 1)}),
        ("other kernel", {"kernel_size": (1, 3)}),
        ("other kernel", {"kernel_size": (2, 2)}),
    ],
)
def test_each_layer_is_of_one_kind(kind: str, given: dict[str, object]) -> None:
    assert kind_of(synthetic.layer(16, **given).problem) == kind


def test_every_kind_is_named_above() -> None:
    [marked] = [mark for mark in test_each_layer_is_of_one_kind.pytestmark if mark.name == "parametrize"]
    assert {kind for kind, _ in marked.args[1]} == set(KINDS)


def found(*labels: str) -> list[str]:
    return stages(labels, [1] * len(labels), [1.0] * len(labels))


def test_the_path_of_a_label_is_its_first_word() -> None:
    assert path_of("layer1.0.conv2") == "layer1.0.conv2"
    assert path_of("layer1.0 reduce") == "layer1.0"
    assert path_of("down.0.conv1 + up.3.conv1") == "down.0.conv1"
    assert path_of("") == ""


def test_stages_are_the_first_parts_of_paths() -> None:
    labels = ["conv1", "layer1.0.conv1", "layer1.1.conv2", "layer2.0.conv1", "layer2.1.conv1"]
    assert found(*labels) == ["conv1", "layer1", "layer1", "layer2", "layer2"]


def test_a_stage_of_most_layers_is_divided() -> None:
    labels = ["net.stem.conv", *(f"net.stages.{stage}.{block}.conv" for stage in range(3) for block in range(5))]
    assert found(*labels) == ["net.stem.conv", *(f"net.stages.{stage}" for stage in range(3) for _ in range(5))]


def test_counts_say_which_stage_has_most_layers() -> None:
    labels = ["a.0.x", "a.1.x", "b.0.x", "b.1.x"]
    assert stages(labels, [1, 1, 1, 1], [1.0] * 4) == ["a", "a", "b", "b"]
    assert stages(labels, [4, 4, 1, 1], [1.0] * 4) == ["a.0", "a.1", "b.0", "b.1"]


def test_of_too_many_stages_those_that_take_most_are_named() -> None:
    labels = [f"features.{block}.conv" for block in range(19)]
    named = stages(labels, [1] * 19, [float(block) for block in range(19)])
    assert named == [OTHERS] * 8 + [f"features.{block}" for block in range(8, 19)]
    assert len(set(named)) == 12


def test_paths_that_are_alike_are_one_stage() -> None:
    assert found("conv", "conv") == ["conv", "conv"]
    assert found() == []
