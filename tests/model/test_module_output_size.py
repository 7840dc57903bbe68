"""A module that pads by itself declares the size of its output: shapes, work and refusals follow from it."""

from __future__ import annotations

from dataclasses import replace

from synthetic import empty_run

from convbench import sweep as sweeps
from convbench.analysis.table.columns import COLUMNS, Rows
from convbench.model.case import Case
from convbench.model.problem import Direction, Problem
from convbench.model.serial import case_from_json, to_json
from convbench.report.text.explain import explain, ways_out
from convbench.sweep.parse import parse

LAYER = Problem(in_channels=2, out_channels=4, kernel_size=(3, 3), input_size=(8, 8))
DECLARED = replace(LAYER, module_output_size=(8, 9))
OWN = Case(problem=DECLARED, module="my.layers:Padded")


def test_shapes_and_work_are_those_of_the_declared_output() -> None:
    assert (LAYER.output_size, DECLARED.output_size) == ((6, 6), (8, 9))
    assert DECLARED.output_shape == (1, 4, 8, 9)
    assert DECLARED.multiply_adds == 4 * 8 * 9 * 2 * 3 * 3, "every tap counts"
    x, y, w, b = 2 * 8 * 8, 4 * 8 * 9, 4 * 2 * 3 * 3, 4
    assert DECLARED.elements_moved(Direction.FORWARD) == x + y + w + b
    assert OWN.bytes == 4 * (x + y + w + b)


def test_a_kernel_that_would_not_fit_is_the_modules_own_affair() -> None:
    wide = replace(DECLARED, kernel_size=(9, 9))
    assert wide.refusal() is None
    assert replace(wide, module_output_size=None).refusal() is not None
    assert replace(wide, groups=3).refusal() == "in_channels (2) must be divisible by groups (3)"


def test_torchs_module_does_not_pad_by_itself() -> None:
    torchs = replace(OWN, module="torch.nn.Conv2d")
    reason = "module_output_size is for a module of your own: torch.nn.Conv2d does not pad by itself"
    assert (OWN.refusal(), torchs.refusal()) == (None, reason)
    assert ways_out(torchs)[0] == {"module_output_size": None}


def test_a_sweep_names_it_and_a_case_keeps_it() -> None:
    text = """
axes: {in_channels: 2, out_channels: 4, kernel_size: 3, input_size: 8, module: "my.layers:Padded"}
cases: [{module_output_size: 8x9}, {module_output_size: null}]
"""
    cases = sweeps.cases(parse(text, "f.yaml")).cases
    assert cases == (OWN, replace(OWN, problem=LAYER))
    assert OWN.label == "n1 c2 8x8 -> k4 3x3 s1 p0 out8x9 forward float32 contiguous cpu my.layers:Padded"
    assert case_from_json(to_json(OWN, defaults=False)) == OWN
    rows = Rows(replace(empty_run(), unmeasured=cases))
    assert COLUMNS["module_output_size"].values(rows) == ["8x9", None]
    assert COLUMNS["expected_output_shape"].values(rows) == ["1x4x8x9", "1x4x6x6"]


def test_explain_says_what_is_declared() -> None:
    text = str(explain(OWN))
    assert "8x9, as declared: the module pads by itself." in text
    assert "every tap counts" in text
    assert "padding=0 is an argument of the module, which pads by itself" in text
