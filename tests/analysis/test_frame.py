"""The table of cases: the contract's columns, its types, and what each status leaves empty."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest
import synthetic
from golden_files import GOLDEN

from convbench.analysis.table.columns import COLUMNS, CONTRACT, NOT_REACHED, ColumnType, columns
from convbench.analysis.table.frame import DTYPES, frame, swept
from convbench.model.case import SETTINGS, Case
from convbench.model.problem import PaddingWord, Problem
from convbench.model.result import Result, Run, Status


def of(*results: Result, unmeasured: tuple[Case, ...] = ()) -> Run:
    return replace(synthetic.empty_run(), results=results, unmeasured=unmeasured)


def row(result: Result) -> pd.Series[object]:
    return frame(of(result)).iloc[0]


CASE = Case(
    problem=Problem(
        in_channels=4,
        out_channels=6,
        kernel_size=(3, 5),
        input_size=(9, 11),
        stride=(2, 1),
        padding=(1, 2),
        groups=2,
        batch_size=3,
    ),
    threads=1,
    given_label="conv 2",
    count=7,
)


def test_the_contract_stands_first_in_its_order() -> None:
    golden = (GOLDEN / "columns.txt").read_text().split()
    assert list(CONTRACT) == golden
    assert list(frame(synthetic.run(3)).columns)[: len(golden)] == golden


def test_a_case_in_all_its_columns() -> None:
    made = synthetic.blocks(1e-3, processes=2, rounds=2, noise=0.0)
    found = row(synthetic.result(CASE, made=made))
    expected = {
        "case_id": CASE.id,
        "label": CASE.label,
        "status": "passed",
        "direction": "forward",
        "batch_size": 3,
        "in_channels": 4,
        "out_channels": 6,
        "input_height": 9,
        "input_width": 11,
        "kernel_height": 3,
        "kernel_width": 5,
        "stride": "2x1",
        "padding": "1x2",
        "dilation": "1x1",
        "groups": 2,
        "bias": True,
        "padding_mode": "zeros",
        "dtype": "float32",
        "memory_format": "contiguous",
        "device": "cpu",
        "threads": 1,
        "expected_output_shape": "3x6x5x11",
        "output_shape": "3x6x5x11",
        "max_error": 0.7,
        "processes": 2,
        "blocks": 4,
        "samples": 400,
        "implementation": "Mkldnn jit:avx512_core",
        "stop_reason": "rounds",
        "count": 7,
        "name": "conv 2",
        "kernel_size": "3x5",
        "input_size": "9x11",
        "module": "torch.nn.Conv2d",
        "allocator": "steady",
        "parameters": 6 * 2 * 15 + 6,
        "method": "exact",
        "timer": "perf_counter_ns",
    }
    assert {name: found[name] for name in expected} == expected
    assert 1e-3 <= found["floor_s"] < 1.006e-3
    assert found["typical_s"] > found["floor_s"]
    assert found["flops"] == CASE.flops and found["bytes"] == CASE.bytes
    assert found["tflops"] == pytest.approx(CASE.flops / found["floor_s"] / 1e12)
    assert found["gbps"] == pytest.approx(CASE.bytes / found["floor_s"] / 1e9)
    assert all(pd.isna(found[name]) for name in ("reason", "note", "host_s"))


def test_words_and_absent_settings_stay_what_they_are() -> None:
    problem = replace(CASE.problem, padding=PaddingWord.SAME, stride=(1, 1), batch_size=None)
    found = row(synthetic.result(replace(CASE, problem=problem)))
    assert found["padding"] == "same"
    assert found["batch_size"] is pd.NA
    assert found["expected_output_shape"] == "6x9x11"


def test_the_output_shape_is_what_was_seen() -> None:
    result = synthetic.result(CASE, status=Status.FAILED, reason="the output has another shape")
    assert result.facts.check is not None
    found = row(synthetic.with_facts(result, check=replace(result.facts.check, output_shape=(1, 2, 3, 4))))
    assert (found["expected_output_shape"], found["output_shape"]) == ("3x6x5x11", "1x2x3x4")
    assert found["status"] == "failed"
    assert found["floor_s"] > 0


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.PASSED, Status.FAILED}))
def test_what_was_not_timed_has_a_reason_and_no_figures(status: Status) -> None:
    found = row(synthetic.result(CASE, status=status, reason="because"))
    assert (found["status"], found["reason"], found["blocks"], found["processes"]) == (status.value, "because", 0, 0)
    empty = ("floor_s", "typical_s", "spread", "support", "tflops", "gbps", "page_faults", "max_error", "output_shape")
    assert all(pd.isna(found[name]) for name in empty)
    assert found["expected_output_shape"] == "3x6x5x11"


def test_threads_are_those_used_even_where_the_sweep_left_them_to_torch() -> None:
    result = synthetic.result(replace(CASE, threads=None))
    assert row(synthetic.with_facts(result, threads=2))["threads"] == 2
    assert row(synthetic.with_facts(result, threads=None))["threads"] is pd.NA


def test_cases_that_no_process_has_reached_come_last_without_a_status() -> None:
    table = frame(synthetic.run(12, unmeasured=3, troubles=False))
    assert table["status"].isna().tolist() == [False] * 9 + [True] * 3
    assert table["reason"].tolist()[-3:] == [NOT_REACHED] * 3
    assert table["stop_reason"].isna().tolist() == [False] * 9 + [True] * 3
    assert table["blocks"].tolist()[-3:] == [0] * 3


def test_one_process_has_no_spread() -> None:
    assert pd.isna(row(synthetic.result(CASE, made=synthetic.blocks(1e-3, processes=1)))["spread"])


def test_integers_stay_integers_and_every_column_has_its_kind() -> None:
    for run in (synthetic.run(40, unmeasured=2), synthetic.run(1), synthetic.empty_run()):
        table = frame(run)
        assert list(table.columns) == list(COLUMNS)
        assert len(table) == len(run.results) + len(run.unmeasured)
        for name, column in COLUMNS.items():
            assert table[name].dtype == DTYPES[column.kind], name


def test_plain_columns_hold_plain_values() -> None:
    kinds = {ColumnType.TEXT: str, ColumnType.INTEGER: int, ColumnType.NUMBER: float, ColumnType.BOOLEAN: bool}
    for name, values in columns(synthetic.run(40, unmeasured=2)).items():
        assert len(values) == 40
        assert {type(value) for value in values} <= {kinds[COLUMNS[name].kind], type(None)}, name


def test_every_column_says_what_it_is() -> None:
    for name, column in COLUMNS.items():
        assert re.fullmatch("[a-z0-9_]+", name)
        assert column.heading and column.about and "\n" not in column.about
        assert (column.unit == "s") == name.endswith("_s"), name
    headings = [column.heading for column in COLUMNS.values()]
    assert len(set(headings)) == len(headings), "each says by itself what it is"
    assert {"in channels", "out channels", "input height", "kernel width", "nearer roof"} <= set(headings)


def test_every_setting_is_a_column_so_that_any_axis_can_be_shown() -> None:
    assert set(SETTINGS) <= set(COLUMNS)


def test_swept_are_the_settings_with_more_than_one_value() -> None:
    two = replace(CASE, dtype="bfloat16", problem=replace(CASE.problem, in_channels=8))
    assert swept(of(synthetic.result(CASE), unmeasured=(two,))) == ("in_channels", "dtype")
    assert swept(of(synthetic.result(CASE))) == ()
