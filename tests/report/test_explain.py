"""Explanations: golden pages, and properties that hold for every layer."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from golden_files import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st

from convbench.model.case import Case, MemoryFormat
from convbench.model.problem import Direction, PaddingMode, PaddingWord, Problem
from convbench.report.text.explain import WIDTH, changed, explain, operands, unread, ways_out

LAYERS: dict[str, Case] = {
    "notebook": Case(
        problem=Problem(
            in_channels=3, out_channels=10, kernel_size=(5, 5), stride=(2, 2), input_size=(64, 64), batch_size=None
        )
    ),
    "depthwise": Case(
        problem=Problem(
            in_channels=32,
            out_channels=32,
            kernel_size=(3, 3),
            padding=(1, 1),
            groups=32,
            bias=False,
            batch_size=8,
            input_size=(56, 56),
        )
    ),
    "dilated_same": Case(
        problem=Problem(
            in_channels=16,
            out_channels=16,
            kernel_size=(3, 3),
            dilation=(4, 4),
            padding=PaddingWord.SAME,
            input_size=(28, 20),
        ),
        dtype="bfloat16",
    ),
    "even_same": Case(
        problem=Problem(
            in_channels=16, out_channels=32, kernel_size=(4, 2), padding=PaddingWord.SAME, input_size=(32, 32)
        )
    ),
    "refused": Case(
        problem=Problem(in_channels=6, out_channels=10, kernel_size=(7, 7), groups=4, input_size=(4, 4)),
    ),
    "backward": Case(
        problem=Problem(
            in_channels=64,
            out_channels=128,
            kernel_size=(1, 7),
            stride=(1, 2),
            padding=(0, 3),
            padding_mode=PaddingMode.REFLECT,
            groups=2,
            batch_size=32,
            input_size=(64, 64),
        ),
        direction=Direction.BACKWARD,
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_golden(name: str) -> None:
    assert str(explain(LAYERS[name])) == (GOLDEN / f"explain_{name}.txt").read_text()


def _both(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


problems = st.builds(
    Problem,
    in_channels=st.integers(1, 12),
    out_channels=st.integers(1, 12),
    kernel_size=_both(1, 6),
    input_size=_both(1, 16),
    stride=_both(1, 4),
    padding=st.one_of(_both(0, 6), st.sampled_from(PaddingWord)),
    dilation=_both(1, 3),
    groups=st.integers(1, 6),
    bias=st.booleans(),
    padding_mode=st.sampled_from(PaddingMode),
    batch_size=st.one_of(st.none(), st.integers(1, 3)),
)
cases = st.builds(
    Case,
    problem=problems,
    direction=st.sampled_from(Direction),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
    memory_format=st.sampled_from(MemoryFormat),
)


@settings(deadline=None, max_examples=200)
@given(cases)
def test_every_case_is_explained_within_the_width(case: Case) -> None:
    explanation = explain(case)
    text = str(explanation)
    assert max(len(line) for line in text.splitlines()) <= WIDTH
    assert text.endswith("\n") and not any(line != line.rstrip() for line in text.splitlines())
    assert explanation.refused == (case.refusal() is not None)
    if explanation.refused:
        assert case.refusal() in explanation.summary
    else:
        assert str(case.problem.output_shape) in text.replace(",)", ")")
        assert f"{case.flops:,}" in text and f"{case.bytes:,}" in text and f"{case.problem.parameters:,}" in text


@settings(deadline=None, max_examples=200)
@given(cases)
def test_what_is_said_to_work_works(case: Case) -> None:
    ways = ways_out(case)
    assert bool(ways) == (case.refusal() is not None)
    for way in ways:
        assert changed(case, way).refusal() is None
        assert all(size > 0 for size in changed(case, way).problem.output_size)


@settings(deadline=None, max_examples=200)
@given(problems.filter(lambda problem: problem.refusal() is None), st.integers(0, 1))
def test_unread_rows_are_those_no_tap_touches(problem: Problem, axis: int) -> None:
    size, (before, after) = problem.input_size[axis], problem.pads[axis]
    held = list(range(size))  # the row that each place of the padded input holds
    if problem.padding_mode is PaddingMode.ZEROS:
        held = [-1] * before + held + [-1] * after
    else:
        mode = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[problem.padding_mode]
        held = np.pad(held, (before, after), mode=mode).tolist()
    read = {
        held[out * problem.stride[axis] + tap * problem.dilation[axis]]
        for out in range(problem.output_size[axis])
        for tap in range(problem.kernel_size[axis])
    }
    assert unread(size, problem, axis) == tuple(row for row in range(size) if row not in read)


HUGE = 2_000_000_000


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kernel_size": (HUGE, HUGE), "padding": (HUGE // 2, HUGE // 2)}, "on zeros"),
        ({"kernel_size": (HUGE, 1), "padding": PaddingWord.SAME, "dilation": (HUGE - 1, 1)}, "same"),
        ({"input_size": (HUGE, HUGE)}, "1999999998"),
        ({"input_size": (HUGE, HUGE), "stride": (1000, 3)}, "rows are never read is only computed for inputs"),
        ({"input_size": (HUGE, 64), "stride": (3, 1)}, "1999999997 is no multiple of the stride 3, so flooring leaves"),
        (
            {"input_size": (HUGE, 64), "stride": (3, 1)},
            "2 of 2,000,000,000 rows of the input are never read: 1999999998,",
        ),
        ({"input_size": (HUGE, 5), "padding": (HUGE - 1, 2), "padding_mode": PaddingMode.REFLECT}, "mirrored"),
        ({"padding": (HUGE, HUGE), "padding_mode": PaddingMode.REPLICATE, "stride": (44721, 1)}, "copies of the edge"),
        ({"kernel_size": (HUGE, HUGE)}, "torch refuses this layer"),
        ({"kernel_size": (HUGE, 1), "padding": (HUGE, 0), "stride": (44_721, 1), "dilation": (2, 1)}, "on zeros"),
        ({"in_channels": HUGE, "out_channels": HUGE, "groups": 7}, "torch refuses this layer"),
    ],
)
def test_layers_of_any_size_are_explained(settings: dict[str, object], told: str) -> None:
    """They took minutes, or all memory: the test's own time limit fails where rows, taps or divisors are walked."""
    problem = replace(Problem(in_channels=1, out_channels=1, kernel_size=(3, 3), input_size=(64, 64)), **settings)
    assert told in " ".join(str(explain(Case(problem=problem))).split())


@pytest.mark.parametrize("groups", range(1, 40))
def test_groups_become_the_nearest_divisor_of_both_channels(groups: int) -> None:
    problem = Problem(in_channels=36, out_channels=60, kernel_size=(1, 1), input_size=(1, 1), groups=groups)
    nearest = min((1, 2, 3, 4, 6, 12), key=lambda divisor: (abs(divisor - groups), divisor))
    ways = [way["groups"] for way in ways_out(Case(problem=problem)) if "groups" in way]
    assert ways == ([] if problem.refusal() is None else [nearest])


@given(cases.filter(lambda case: case.refusal() is None))
def test_the_operands_named_are_the_bytes_counted(case: Case) -> None:
    p = case.problem
    shapes = {"input": p.input_shape, "weight": p.weight_shape, "bias": p.bias_shape, "output": p.output_shape}
    elements = sum(math.prod(shapes[name.removesuffix("'s gradient")]) for side in operands(case) for name in side)
    assert elements == p.elements_moved(case.direction)


def test_the_mildest_way_out_comes_first() -> None:
    same = Problem(
        in_channels=4, out_channels=4, kernel_size=(3, 3), stride=(2, 2), padding=PaddingWord.SAME, input_size=(8, 8)
    )
    assert ways_out(Case(problem=same)) == ({"stride": (1, 1)}, {"padding": (1, 1)})


def test_a_million_rows_are_no_trouble() -> None:
    wide = Problem(in_channels=1, out_channels=1, kernel_size=(1, 1), stride=(1000, 1), input_size=(1_000_000, 1))
    assert not explain(Case(problem=wide)).refused
    assert len(unread(1_000_000, wide, 0)) == 999_000


def test_ways_out_of_a_layer_with_many_channels_are_found_at_once() -> None:
    problem = Problem(in_channels=2**31 - 2, out_channels=2**31 - 2, kernel_size=(1, 1), input_size=(9, 9), groups=4)
    assert {"groups": 3} in ways_out(Case(problem=problem))
