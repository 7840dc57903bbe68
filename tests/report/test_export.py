"""Exports: what other programs and people read, whatever the names in it."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import sys
from dataclasses import replace
from xml.etree import ElementTree

import pandas as pd
import pytest
import strategies
import synthetic
from golden_files import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st

from convbench.analysis.findings.findings import findings
from convbench.analysis.table.columns import COLUMNS, CONTRACT, NOT_REACHED, ColumnType
from convbench.analysis.table.frame import frame
from convbench.errors import RequestError
from convbench.model.result import Environment, Rejection, Run, Status
from convbench.report.export import FORMATS, export, read_json

RUN = synthetic.run(120, unmeasured=2)

hostile = strategies.raw_texts | st.sampled_from([*synthetic.HOSTILE, "=1+1", "+x", "-x", "@x", "\t=x", "|", "\r\n"])


@st.composite
def hostile_runs(draw: st.DrawFn) -> Run:
    """A small run whose every text is what a user, a colleague's file or a library may have put there."""
    run = synthetic.run(3, troubles=False, rejections=0)
    results = tuple(
        replace(
            result,
            case=replace(
                result.case,
                given_label=draw(st.none() | hostile),
                module=draw(strategies.texts | st.sampled_from(synthetic.HOSTILE)),
            ),
            status=(status := draw(st.sampled_from(Status))),
            reason=None if status is Status.PASSED else draw(hostile),
            facts=replace(result.facts, implementation=draw(st.none() | hostile), note=draw(st.none() | hostile)),
        )
        for result in run.results
    )
    return replace(
        run,
        name=draw(hostile),
        results=results,
        rejections=(Rejection(label=draw(hostile), reason=draw(hostile)),),
        environment=replace(run.environment, hostname=draw(hostile), cpu=draw(hostile)),
    )


def rows(run: Run) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(export(run, "csv").decode(), newline="")))


def test_the_csv_header_is_the_contract_and_then_more() -> None:
    header = export(RUN, "csv").decode().splitlines()[0].split(",")
    contract = (GOLDEN / "columns.txt").read_text().split()
    assert header[: len(contract)] == contract == list(CONTRACT)
    assert header == list(COLUMNS)


def test_the_contract_of_a_small_run_is_the_golden_file() -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, CONTRACT, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(synthetic.run(14, unmeasured=1)))
    assert text.getvalue() == (GOLDEN / "export.csv").read_text()


def test_the_csv_holds_what_the_frame_holds() -> None:
    table = frame(RUN)
    found = rows(RUN)
    assert len(found) == len(table) == 120
    for name, column in COLUMNS.items():
        for text, value in zip((row[name] for row in found), table[name], strict=True):
            if pd.isna(value):
                assert text == ""
            elif column.kind is ColumnType.TEXT:
                assert text.removeprefix("'") == value
            elif column.kind is ColumnType.BOOLEAN:
                assert text == str(value).lower()
            elif column.kind is ColumnType.INTEGER:
                assert int(text) == value
            else:
                assert math.isclose(float(text), value, rel_tol=1e-6)


def test_a_text_cannot_become_a_formula_and_a_number_is_left_alone() -> None:
    result = RUN.results[0]
    case = replace(result.case, given_label="=HYPERLINK(1)", module="@sum")
    made = synthetic.with_facts(replace(result, case=case, reason="-1+1"), note="+1")
    [row] = rows(replace(RUN, results=(made,), unmeasured=()))
    assert row["label"].startswith("'=HYPERLINK(1): ")
    assert (row["name"], row["module"], row["reason"], row["note"]) == ("'=HYPERLINK(1)", "'@sum", "'-1+1", "'+1")
    minus = synthetic.with_facts(result, check=replace(result.facts.check, max_error=-1.5))
    [row] = rows(replace(RUN, results=(minus,), unmeasured=()))
    assert row["max_error"] == "-1.5"


@given(hostile_runs())
@settings(deadline=None)
def test_hostile_text_stays_in_its_cell(run: Run) -> None:
    found = rows(run)
    assert len(found) == 3
    assert [row["case_id"] for row in found] == [result.case.id for result in run.results]
    assert all(None not in row and None not in row.values() for row in found)
    assert not any(
        row[name].startswith(("=", "+", "-", "@", "\t", "\n")) for row in found for name in ("label", "name")
    )


def test_json_is_the_whole_run_and_reads_back() -> None:
    text = export(RUN, "json").decode()
    assert read_json(text) == RUN
    document = json.loads(text)
    assert document["format"] == "convbench run"
    assert len(document["results"]) == 118 and len(document["unmeasured"]) == 2 and len(document["rejections"]) == 3


@pytest.mark.slow
@given(strategies.runs)  # times of 1e-30 and 1e38 seconds, layers too large for 64 bits, status and figures at odds
@settings(max_examples=50, deadline=None)
def test_any_run_can_be_exported_and_reads_back_from_json(run: Run) -> None:
    for form in FORMATS:
        assert export(run, form)
    assert len(frame(run)) == len(rows(run)) == len(run.results) + len(run.unmeasured)
    assert all(finding.sentence for finding in findings(run))
    assert export(read_json(export(run, "json").decode()), "json") == export(run, "json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is not JSON"),
        ("case_id,label\n1,2\n", "it is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"format": NaN}', "NaN is no JSON number"),
        ("[1, 2]", "not a run that convbench exported"),
        ('{"format": "convbench run", "format_version": 99}', "format version 99"),
        ('{"format": "convbench run", "format_version": 1}', "lacks id"),
        ("9" * 5000, "not a run that convbench exported"),
    ],
)
def test_what_is_no_export_is_refused_with_a_reason(text: str, message: str) -> None:
    with pytest.raises(RequestError) as refused:
        read_json(text)
    assert message in refused.value.message
    assert refused.value.message == refused.value.message.strip().replace("\n", " ")


def test_parquet_keeps_types_units_and_where_it_came_from() -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    read = parquet.read_table(io.BytesIO(export(RUN, "parquet")))
    kinds = {
        ColumnType.TEXT: pa.string(),
        ColumnType.INTEGER: pa.int64(),
        ColumnType.NUMBER: pa.float64(),
        ColumnType.BOOLEAN: pa.bool_(),
    }
    assert {field.name: field.type for field in read.schema} == {n: kinds[c.kind] for n, c in COLUMNS.items()}
    assert read.schema.field("floor_s").metadata[b"unit"] == b"s"
    assert read.schema.metadata[b"convbench.run"] == RUN.id.encode()
    table = frame(RUN)
    for name in COLUMNS:
        expected = [None if pd.isna(value) else value for value in table[name]]
        assert read.column(name).to_pylist() == expected, name


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(RequestError, match="parquet needs pyarrow") as refused:
        export(RUN, "parquet")
    assert refused.value.hint == "pip install 'convbench[parquet]'"


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_a_small_run_as_markdown_is_the_golden_file() -> None:
    assert export(synthetic.run(14, unmeasured=1), "markdown").decode() == (GOLDEN / "export.md").read_text()


@given(hostile_runs())
@settings(deadline=None)
def test_markdown_is_one_line_per_case_without_tags_or_mentions(run: Run) -> None:
    text = export(run, "markdown").decode()
    lines = text.split("\n")
    table = lines[2:-1]
    assert len(table) == 2 + 3
    assert {len(cells(line)) for line in table} == {7}
    assert "<" not in text and not re.search("@(?!\u200b)", text)


def test_markdown_tells_reasons_and_leaves_dashes_for_what_was_not_measured() -> None:
    lines = export(RUN, "markdown").decode().splitlines()
    [crashed, *_] = [cells(line) for line in lines if "crashed: " in line]
    assert crashed[1:6] == ["crashed: the worker ended by signal 11", "-", "-", "-", "-"]
    assert cells(lines[-1])[1] == NOT_REACHED


def test_junit_has_a_test_for_each_case_with_its_outcome() -> None:
    [suite] = ElementTree.fromstring(export(RUN, "junit"))
    tests = suite.findall("testcase")
    assert len(tests) == 120 == int(suite.attrib["tests"])
    outcomes = {"failure": "failures", "error": "errors", "skipped": "skipped"}
    for tag, attribute in outcomes.items():
        assert len(suite.findall(f"testcase/{tag}")) == int(suite.attrib[attribute]) > 0
    by_status = {Status.PASSED: None, Status.FAILED: "failure", Status.SKIPPED: "skipped"}
    for test, result in zip(tests, RUN.results, strict=False):
        properties = {p.attrib["name"]: p.attrib["value"] for p in test.findall("properties/property")}
        assert properties["case_id"] == result.case.id
        assert properties["status"] == result.status
        outcome = next((child for child in test if child.tag in outcomes), None)
        expected = by_status.get(result.status, "error")
        assert (outcome.tag if outcome is not None else None) == expected
        if outcome is not None and result.reason is not None:
            assert outcome.attrib["message"] == " ".join(result.reason.split())
        assert ("time" in test.attrib) == (result.status in (Status.PASSED, Status.FAILED))
    assert [test.find("skipped").attrib["message"] for test in tests[-2:]] == [NOT_REACHED] * 2
    coarse = replace(RUN.results[0], status=Status.IMPRECISE, reason="less precision than float32")
    [suite] = ElementTree.fromstring(export(replace(RUN, results=(coarse,), unmeasured=()), "junit"))
    [failure] = suite.findall("testcase/failure")
    assert (suite.attrib["failures"], failure.attrib["type"], failure.text) == ("1", "imprecise", coarse.reason)
    labels = [test.attrib["name"] for test in tests]
    assert any("<script>alert('label')</script>" in label for label in labels)
    assert any("control  character" in label for label in labels)  # XML 1.0 refuses the one that stood there


@given(hostile_runs())
@settings(deadline=None)
def test_junit_is_xml_whatever_the_names(run: Run) -> None:
    [suite] = ElementTree.fromstring(export(run, "junit"))
    assert len(suite.findall("testcase")) == 3


def test_lines_of_benchdnn_have_every_case_or_say_why_not() -> None:
    text = export(RUN, "benchdnn").decode()
    cases = [*(result.case for result in RUN.results), *RUN.unmeasured]
    lines = [line for line in text.splitlines() if line.startswith("--reset ")]
    reasons = [line for line in text.splitlines() if line.startswith("# left out, ")]
    assert (len(lines) + len(reasons), bool(lines), bool(reasons)) == (len(cases), True, True)


@pytest.mark.parametrize("form", FORMATS)
def test_a_run_without_cases_can_be_exported(form: str) -> None:
    assert export(synthetic.empty_run(), form)


@pytest.mark.parametrize(("form", "hint"), [("cvs", "did you mean csv?"), ("excel", None), ("", None)])
def test_an_unknown_format_names_the_known_ones(form: str, hint: str | None) -> None:
    with pytest.raises(RequestError, match="expected one of csv, json, parquet, markdown, junit, benchdnn") as refused:
        export(RUN, form)
    assert refused.value.hint == hint


def test_texts_outside_unicode_are_written_as_escapes() -> None:
    environment: Environment = replace(RUN.environment, hostname="half \udce4", cpu="half \udce4")
    case = replace(RUN.results[0].case, given_label="half \udce4")
    run = replace(RUN, results=(replace(RUN.results[0], case=case),), unmeasured=(), environment=environment)
    for form in FORMATS:
        if form != "parquet" or "pyarrow" in sys.modules:
            assert export(run, form)
    assert rows(run)[0]["name"] == "half \\udce4"
    again = read_json(export(run, "json").decode())
    assert again.environment.hostname == "half \\udce4"
    assert export(again, "json") == export(run, "json")
