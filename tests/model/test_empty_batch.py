"""A case with an empty batch has shapes and bytes, no FLOPs, and figures without a division by zero."""

from __future__ import annotations

from dataclasses import replace

import pytest
import synthetic
from payloads import payload
from synthetic import layer

from convbench import sweep as sweeps
from convbench.analysis.findings.findings import findings
from convbench.analysis.table.columns import columns
from convbench.measure.forecast import assumed_s, forecast_s
from convbench.model.case import Case
from convbench.model.problem import Direction, Problem
from convbench.model.result import ProcessFacts, Result, Roof, RoofKind, Run
from convbench.model.serial import case_from_json, to_json
from convbench.report.export import export
from convbench.report.pages import run as page
from convbench.report.text.explain import explain
from convbench.sweep.parse import parse

EMPTY = Problem(in_channels=2, out_channels=4, kernel_size=(3, 3), input_size=(8, 8), padding=(1, 1), batch_size=0)
CASE = Case(problem=EMPTY)


def timed(case: Case, floor_s: float) -> Result:
    return synthetic.result(case, made=tuple(synthetic.blocks(floor_s, noise=0.0)))


def run(*results: Result) -> Run:
    made = replace(synthetic.empty_run(), results=results)
    processes = tuple(ProcessFacts(process_index=index, seconds=2.0) for index in range(made.measure.processes))
    return replace(made, processes=processes)


def test_it_has_shapes_and_bytes_and_no_work() -> None:
    assert (EMPTY.input_shape, EMPTY.output_shape) == ((0, 2, 8, 8), (0, 4, 8, 8))
    assert EMPTY.refusal() is None
    assert [EMPTY.flops(direction) for direction in Direction] == [0] * 5
    weights, biases = 4 * 2 * 9, 4
    assert CASE.bytes == 4 * (weights + biases)
    assert CASE.label.startswith("n0 c2 8x8 -> k4 3x3")
    assert case_from_json(to_json(CASE, defaults=False)) == CASE
    assert CASE.id != Case(problem=replace(EMPTY, batch_size=1)).id


def test_a_sweep_takes_it() -> None:
    axes = "in_channels: 2, out_channels: 4, kernel_size: 3, input_size: 8, padding: 1, batch_size: [0, null, 1]"
    cases = sweeps.cases(parse(f"axes: {{{axes}}}", "f.yaml")).cases
    assert [case.problem.batch_size for case in cases] == [0, None, 1]
    assert cases[0] == CASE


def test_explain_says_that_there_is_nothing_to_compute() -> None:
    text = str(explain(CASE))
    assert "on 0 images of 2x8x8" in text
    assert "The batch is empty, so there is nothing to compute." in text
    assert "= 0 (0 FLOP)" in text
    assert "FLOPs per byte: 0." in text


def test_rates_are_zero() -> None:
    table = columns(run(timed(CASE, 1e-5)))
    assert (table["flops"], table["tflops"], table["images_per_second"]) == ([0], [0.0], [0.0])
    assert table["gbps"][0] == pytest.approx(CASE.bytes / 1e-5 / 1e9, rel=1e-3)


def test_nothing_limits_it() -> None:
    roofs = (
        Roof(kind=RoofKind.COMPUTE, device="cpu", threads=None, rate=1e11, source="a product", dtype="float32"),
        Roof(kind=RoofKind.BANDWIDTH, device="cpu", threads=None, rate=1e10, source="a copy", footprint_bytes=2**20),
    )
    made = run(timed(CASE, 1e-5), timed(Case(problem=replace(EMPTY, batch_size=2)), 1e-4))
    table = columns(replace(made, processes=(replace(made.processes[0], roofs=roofs), *made.processes[1:])))
    assert (table["attainable_s"][0], table["efficiency"][0], table["bound"][0]) == (None, None, None)
    assert table["bound"][1] == "memory"
    assert (table["efficiency"][1] or 0) > 0


def test_batches_are_compared_with_the_smallest_that_does_work() -> None:
    results = [
        timed(layer(channels, batch_size=batch), 1e-3 * seconds * channels)
        for channels in (16, 17, 18, 19)
        for batch, seconds in ((0, 0.01), (1, 1.0), (8, 4.0))
    ]
    found = [finding.sentence for finding in findings(run(*results)) if finding.axis == "batch_size"]
    assert any(sentence.startswith("batch_size=8 is 2.00x faster per FLOP than batch_size=1") for sentence in found)
    assert not any("batch_size=0" in sentence for sentence in found)


@pytest.mark.parametrize("others", [(), (timed(Case(problem=replace(EMPTY, batch_size=2)), 1e-4),)])
def test_reports_and_exports_show_it(others: tuple[Result, ...]) -> None:
    made = run(timed(CASE, 1e-5), *others)
    html = page.render(made)
    assert CASE.id in payload(html, "data").column("case_id")
    for form in ("csv", "json", "markdown", "junit"):
        assert CASE.id.encode() in export(made, form) or CASE.label.encode() in export(made, form)


def test_a_plan_forecasts_it() -> None:
    full = Case(problem=replace(EMPTY, batch_size=2))
    known = run(timed(CASE, 1e-5), timed(full, 1e-4))
    other = Case(problem=replace(EMPTY, in_channels=4))
    assert assumed_s([CASE], known.measure) > 0
    assert (forecast_s([CASE, other], known.measure, known) or 0) > 0
    alone = run(timed(CASE, 1e-5))
    assert (forecast_s([CASE, other], alone.measure, alone) or 0) > 0
    assert forecast_s([full], alone.measure, alone) is None, "its rate is not known"
