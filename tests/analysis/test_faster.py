"""Which value of a setting is faster, by an interval of process floors, and how that is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from timed_runs import STEADY, run, times

from convbench import sweep as sweeps
from convbench.actions import timing
from convbench.analysis.faster import Slower
from convbench.model.result import Run, Status, StopReason
from convbench.report.text.timing import answer_text, times_text
from convbench.sweep import Sweep

LAYER = {"in_channels": ["8"], "out_channels": ["8"], "kernel_size": ["3"], "input_size": ["16"]}
FORWARD = {**LAYER, "direction": ["forward"]}


def made(options: Mapping[str, Sequence[str]], floors: Sequence[Sequence[float]]) -> tuple[Run, Sweep]:
    """A run of these settings whose cases have these process floors, in the order of the cases."""
    sweep, plan = timing.planned({**FORWARD, **options})
    measured = run(floors, plan.cases, source=sweep.source)
    settled = tuple(replace(result, stop_reason=StopReason.SETTLED) for result in measured.results)
    return replace(measured, results=settled), sweep


def answered(options: Mapping[str, Sequence[str]], floors: Sequence[Sequence[float]]) -> list[Slower]:
    return timing.answer(*made(options, floors))[1]


def said(options: Mapping[str, Sequence[str]], floors: Sequence[Sequence[float]]) -> list[str]:
    measured, sweep = made(options, floors)
    return answer_text(measured, timing.answer(measured, sweep)[1]).splitlines()


TYPES = {"dtype": ["float32", "bfloat16"]}


def test_the_interval_is_that_of_the_process_floors() -> None:
    [one] = answered(TYPES, [times(2), STEADY])
    assert (one.axis, one.fastest, one.value, one.processes) == ("dtype", "bfloat16", "float32", 5)
    assert one.ratio == pytest.approx(2.0)
    # The highest of five floors is left out, and a floor repeats within the precision.
    assert (one.low, one.high) == (pytest.approx(2.0 / 1.02 / 1.01), pytest.approx(2.0 * 1.02 * 1.01))
    assert one.is_shown
    assert said(TYPES, [times(2), STEADY]) == ["bfloat16 ran 2.00x faster than float32 (1.94 to 2.06)"]


def test_an_interval_that_holds_1_shows_no_difference() -> None:
    [one] = answered(TYPES, [times(1.02), STEADY])
    assert one.low < 1 < one.high
    assert said(TYPES, [times(1.02), STEADY]) == ["no difference is shown between bfloat16 and float32 (0.990 to 1.05)"]


@pytest.mark.parametrize("processes", [1, 3])
def test_fewer_processes_than_a_comparison_needs_show_nothing(processes: int) -> None:
    [one] = answered(TYPES, [times(9)[:processes], STEADY[:processes]])
    assert not one.is_shown
    [line] = said(TYPES, [times(9)[:processes], STEADY[:processes]])
    assert line.startswith("bfloat16 ran 9.00x faster than float32 so far: ")
    assert f"{processes} process" in line and "of 4" in line


def test_unequal_numbers_of_processes_are_compared_over_equal_numbers() -> None:
    fifth_is_lower = [*times(2)[:4], 0.5e-3]
    [one] = answered(TYPES, [fifth_is_lower, STEADY[:4]])
    assert (one.fastest, one.processes) == ("float32", 4)
    assert one.ratio == pytest.approx(0.5), "the fifth process has no counterpart"
    assert not one.is_shown


def test_each_other_value_is_compared_with_the_fastest_the_nearest_first() -> None:
    lines = said({"batch_size": ["1", "2", "4"]}, [STEADY, times(1.5), times(4)])
    assert lines == [
        "batch_size=2 took 1.50x as long as batch_size=1 (1.46 to 1.55), for 2.00x the work",
        "batch_size=4 took 4.00x as long as batch_size=1 (3.88 to 4.12), for 4.00x the work",
    ]


def test_layers_are_compared_each_by_itself() -> None:
    options = {**TYPES, "direction": ["forward", "backward"], "memory_format": ["contiguous", "channels_last"]}
    plan = timing.planned({**FORWARD, **options})[1]
    factors = {("float32", "forward"): 2.0, ("float32", "backward"): 3.0}
    floors = [times(factors.get((case.dtype, str(case.direction)), 1.0)) for case in plan.cases]
    lines = said(options, floors)
    assert len(lines) == 8
    assert "forward, channels_last: bfloat16 ran 2.00x faster than float32 (1.94 to 2.06)" in lines
    assert "backward, contiguous: bfloat16 ran 3.00x faster than float32 (2.91 to 3.09)" in lines
    assert sum("no difference is shown between contiguous and channels_last" in line for line in lines) == 4


def test_a_word_that_follows_another_setting_is_compared_as_written() -> None:
    options = {"in_channels": ["8", "16"], "out_channels": ["in_channels"], "groups": ["1", "depthwise"]}
    found = answered(options, [STEADY] * 4)
    assert {(one.axis, one.others) for one in found} == {
        ("in_channels", (("groups", 1),)),
        ("in_channels", (("groups", "depthwise"),)),
        ("groups", (("in_channels", 8),)),
        ("groups", (("in_channels", 16),)),
    }


def test_values_that_are_wrong_or_were_not_reached_are_not_ranked() -> None:
    options = {"dtype": ["float32", "bfloat16", "float64", "float16"]}
    measured, sweep = made(options, [times(2), STEADY, times(3), times(0.5)])
    crashed = replace(measured.results[2], status=Status.CRASHED, reason="signal 11", blocks=())
    wrong = replace(measured.results[3], status=Status.FAILED, reason="output is wrong")
    some = replace(measured, results=(*measured.results[:2], crashed, wrong))
    assert answer_text(some, timing.answer(some, sweep)[1]).splitlines() == [
        "bfloat16 ran 2.00x faster than float32 (1.94 to 2.06)",
        "float64 is not compared: crashed",
        "float16 is not compared: failed",
    ]
    early = replace(measured, results=(), unmeasured=tuple(result.case for result in measured.results))
    assert timing.answer(early, sweep)[1] == []


def test_one_case_alone_has_no_answer_and_an_unsettled_one_says_so() -> None:
    measured, sweep = made({}, [STEADY])
    assert answer_text(measured, timing.answer(measured, sweep)[1]) == ""
    unsettled = replace(measured, results=tuple(replace(r, stop_reason=StopReason.ROUNDS) for r in measured.results))
    assert answer_text(unsettled, []) == "1 of 1 case did not settle: floors of processes differ by more than 1 %"


def test_settings_make_a_sweep_with_their_defaults() -> None:
    sweep, plan = timing.planned({**LAYER, "dtype": ["float32", "bfloat16"], "padding": ["half"]})
    assert sweep.name == "time c8 16x16 -> k8 3x3"
    assert len(plan.cases) == 4
    assert {case.threads for case in plan.cases} == {1}
    assert sweeps.of_run(replace(run([STEADY]), source=sweep.source)) is not None
    assert {str(case.direction) for case in timing.planned({**FORWARD, "threads": ["null"]})[1].cases} == {"forward"}
    assert timing.planned({**FORWARD, "threads": ["null"]})[1].cases[0].threads is None


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 160, None])
def test_the_table_has_every_figure_in_every_width(columns: int | None) -> None:
    options = {**TYPES, "direction": ["forward", "backward"]}
    measured, sweep = made(options, [STEADY, times(2), times(3), times(4)])
    plan = timing.planned({**FORWARD, **options})[1]
    rows, found = timing.answer(measured, sweep)
    text = "\n".join([times_text(rows, plan.cases, columns), answer_text(measured, found, columns)])
    assert columns is None or all(len(line) <= columns for line in text.splitlines())
    for figure in ("1.00 ms", "2.00 ms", "3.00 ms", "4.00 ms", "2.0 %", "passed", "2.00x faster", "1.33x faster"):
        assert any(figure in line for line in text.splitlines()), figure
    assert [word for word in text.split() if word in ("float32", "bfloat16")][:4].count("float32") == 2
