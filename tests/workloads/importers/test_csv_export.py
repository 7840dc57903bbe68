"""CSV of convbench's own export: the cases have the ids that stand in the file."""

from __future__ import annotations

from dataclasses import replace

import pytest
import strategies
import synthetic
from hypothesis import given
from hypothesis import strategies as st
from imports import read

from convbench.errors import RequestError
from convbench.model.case import Case
from convbench.model.result import Run
from convbench.report.export import export

RUN = synthetic.run(12, troubles=True)


def exported(run: Run, *cases: Case) -> str:
    """The export of a run that has not reached these cases."""
    return export(replace(run, results=(), unmeasured=cases) if cases else run, "csv").decode()


def test_every_case_of_a_run_comes_back_with_its_id_label_and_count() -> None:
    cases = [*(result.case for result in RUN.results), *RUN.unmeasured]
    made = read(exported(RUN))
    assert not made.refused
    assert [case.id for case in made.cases] == [case.id for case in cases]
    assert [case.count for case in made.cases] == [case.count for case in cases]


@given(st.lists(strategies.cases, min_size=1, max_size=3, unique=True))
def test_any_case_comes_back(cases: list[Case]) -> None:
    """But carriage returns, which an export replaces (report/export.py)."""
    named = [
        replace(case, given_label=f"=layer {at}", env=tuple((name, text.replace("\r", "")) for name, text in case.env))
        for at, case in enumerate(cases)
    ]
    named = list(dict.fromkeys(named))
    made = read(exported(RUN, *named))
    assert not made.refused
    assert [(case, case.given_label, case.count) for case in made.cases] == [
        (case, case.given_label, case.count) for case in named
    ]


def test_a_row_that_was_changed_is_refused_with_its_line() -> None:
    text = exported(RUN)
    lines = text.splitlines()
    at = next(at for at, line in enumerate(lines) if ",float32," in line)
    lines[at] = lines[at].replace(",float32,", ",bfloat16,", 1)
    lines[at + 1] += ",1"
    made = read("\n".join(lines))
    assert [(each.place, each.reason.partition(":")[0][:40]) for each in made.refused] == [
        (f"line {at + 1}", "its case_id is not that of its settings"),
        (f"line {at + 2}", "it has another number of cells than the "),
    ]


def test_another_table_is_one_error() -> None:
    with pytest.raises(RequestError, match="it has no column direction"):
        read("case_id,label,x\n1,2,3\n")
