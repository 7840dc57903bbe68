"""The table that ends a run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import synthetic
from timed_runs import STEADY, run, times

from convbench import units
from convbench.analysis.table.columns import Rows
from convbench.model.result import Run, Status
from convbench.report.text.results import MOST_CASES, results_text


def timed(count: int) -> Run:
    """Cases whose times grow with their place, so that the order is known."""
    return run([times(1 + place) for place in range(count)], synthetic.cases(count))


def test_all_of_up_to_twenty_cases_are_listed_with_their_times_the_fastest_first() -> None:
    made = timed(MOST_CASES)
    backwards = replace(made, results=made.results[::-1])
    every, heads, *lines = results_text(Rows(backwards)).splitlines()
    assert heads.split() == ["floor", "typical", "spread", "rate", "case"]
    assert len(lines) == MOST_CASES
    assert [" ".join(line.split()[:2]) for line in lines] == [
        units.seconds(float(floor)) for floor in Rows(made).estimates.floor_s
    ]
    rate = units.si(made.results[0].case.flops / STEADY[0], "FLOP/s")
    assert rate in lines[0]
    assert every.startswith("every case: ")
    for word in every.removeprefix("every case: ").split():
        assert all(word in result.case.label.split() for result in made.results)


def test_of_more_the_fastest_the_slowest_and_the_named_are_listed() -> None:
    made = timed(30)
    named = [made.results[place].case.id for place in (12, 3, 0)]
    text = results_text(Rows(made), ["unknown", *named])
    lines = text.splitlines()[2:-1]
    places = [0, 1, 2, 3, 4, 12, 25, 26, 27, 28, 29]
    floors = Rows(made).estimates.floor_s[places]
    assert [" ".join(line.split()[:2]) for line in lines] == [units.seconds(float(floor)) for floor in floors]
    assert text.splitlines()[-1] == "and 19 cases more (the report has all)"


def test_a_case_without_times_comes_last_with_its_status() -> None:
    made = timed(3)
    crashed = replace(made.results[0], status=Status.CRASHED, reason="signal 11", blocks=())
    wrong = replace(made.results[1], status=Status.FAILED, reason="wrong")
    some = replace(made, results=(crashed, wrong, made.results[2]), unmeasured=(synthetic.cases(4)[3],))
    lines = results_text(Rows(some)).splitlines()[2:]
    assert [word in line for word, line in zip(["crashed", "not reached yet"], lines[2:], strict=True)] == [True] * 2
    assert "failed" in lines[0]


@pytest.mark.parametrize("width", [40, 60, 79, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = results_text(Rows(timed(25)), columns=width).splitlines()
    assert all(len(line) <= width for line in lines)
    told = " ".join(results_text(Rows(timed(25)), columns=width).split())
    for line in results_text(Rows(timed(25))).splitlines()[2:-1]:
        figures = " ".join(line.split()[:8])  # floor, typical, spread and rate, each with its unit
        assert figures in told if width > 40 else all(part in told for part in line.split())


def test_a_number_that_means_two_settings_stays_in_every_case() -> None:
    cases = [
        replace(case, problem=replace(case.problem, kernel_size=(7, 7), input_size=(size, size), padding=(0, 0)))
        for case, size in zip(synthetic.cases(2), (7, 14), strict=True)
    ]
    every, _, first, last = results_text(Rows(run([STEADY, times(2)], cases))).splitlines()
    assert "7x7" not in every
    assert "7x7 -> 7x7" in first and "14x14 -> 7x7" in last


def test_a_single_case_keeps_its_whole_label() -> None:
    made = timed(1)
    [_, one] = results_text(Rows(made)).splitlines()
    assert one.endswith(made.results[0].case.label)
    assert results_text(Rows(replace(made, results=()))) == ""
