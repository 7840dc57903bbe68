"""The report's text, tables and figures, without a browser (see test_report_browser.py)."""

from __future__ import annotations

import base64
import gzip
import hashlib
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import synthetic
from payloads import payload

from convbench import sweep as sweeps
from convbench import units
from convbench.analysis.findings.effects import EXECUTION
from convbench.analysis.findings.findings import FindingKind, Weight, examined, with_details
from convbench.analysis.table.columns import COLUMNS, ColumnType, Rows
from convbench.analysis.table.frame import frame
from convbench.model.case import Case
from convbench.model.problem import Direction, Problem
from convbench.model.result import (
    UNMEASURED,
    Measure,
    ProcessFacts,
    Rejection,
    Result,
    Roof,
    RoofKind,
    Run,
    RunState,
    Status,
    unpack_blocks,
)
from convbench.report.pages import figures, rendering
from convbench.report.pages import run as page
from convbench.report.pages.figures import Scale
from convbench.report.pages.rerun import case_mapping, measure_mapping
from convbench.report.pages.tables import by_weight, case_table, refusals, rows, troubles
from convbench.sweep.parse import parse as parse_sweep


class _Reader(HTMLParser):
    """What a browser's parser makes of a page: elements with attributes, and the text of scripts by id."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self._inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "h1", "title"):
            self._inside = [dict(attrs).get("id") or tag]

    def handle_endtag(self, tag: str) -> None:
        self._inside = []

    def handle_data(self, data: str) -> None:
        for name in self._inside:
            self.text[name] = self.text.get(name, "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def run() -> Run:
    return synthetic.run(100)


@pytest.fixture(scope="module")
def html(run: Run) -> str:
    return page.render(run)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("channels-and-kernels", "channels-and-kernels-7.html"),
        ("Grüße, <b>Welt</b>!", "gr-e-b-welt-b-7.html"),
        ("../../etc/passwd", "etc-passwd-7.html"),
        ("🧮", "run-7.html"),
        ("", "run-7.html"),
        ("x" * 59 + " y", "x" * 59 + "-7.html"),
        ("x" * 200, "x" * 60 + "-7.html"),
    ],
)
def test_file_names(name: str, expected: str) -> None:
    assert page.file_name(replace(synthetic.empty_run(), id="7", name=name)) == expected


def test_user_text_makes_no_element(run: Run, html: str) -> None:
    reader = _Reader(html)
    assert reader.text["h1"] == run.name
    assert len(reader.all("script")) == 7 and not reader.all("img") and not reader.all("b") and not reader.all("i")
    assert not any(name.startswith("on") for _, attributes in reader.elements for name in attributes)
    assert payload(html, "data").column("label") == [result.case.label for result in run.results]


def test_the_policy_knows_every_script_and_no_other(html: str) -> None:
    reader = _Reader(html)
    policy = next(meta["content"] for meta in reader.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "connect-src 'none'" in policy and "unsafe-eval" not in policy and "http" not in policy
    allowed = set(re.findall(r"'(sha256-[^']+)'", policy))
    scripts = [reader.text["script"], *(_unpacked(reader, name) for name in ("plotly", "datatables"))]
    assert allowed == {
        "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts
    }


def _unpacked(reader: _Reader, name: str) -> str:
    return gzip.decompress(base64.b64decode(reader.text[name])).decode()


def test_the_page_points_nowhere(html: str) -> None:
    reader = _Reader(html)
    assert not [a for tag, a in reader.elements if "src" in a or (tag != "a" and "href" in a)]
    targets = {str(a["href"]).removeprefix("#") for a in reader.all("a")}
    assert all(str(a["href"]).startswith("#") for a in reader.all("a"))
    places = {target for target in targets if "=" not in target}  # with `=` it is a view of this page: see view.js
    assert places <= {str(a["id"]) for _, a in reader.elements if "id" in a}


def test_libraries_travel_once_and_small(html: str) -> None:
    assert len(html) < 2.9e6
    reader = _Reader(html)
    assert _unpacked(reader, "plotly").count("* plotly.js v") == 1
    assert "globalThis.DataTable=" in _unpacked(reader, "datatables")
    assert not re.search(r"\bexport\{", _unpacked(reader, "datatables"))


def test_every_case_rejection_and_reason_is_in_the_page(run: Run, html: str) -> None:
    escaped = rendering.templates().from_string("{{ text }}")
    html = html.replace(str(rendering.unbroken("->")), "-&gt;")
    texts = [result.case.label for result in run.results]
    texts += [result.reason for result in run.results if result.reason]
    texts += [text for rejection in run.rejections for text in (rejection.label, rejection.reason)]
    texts += [run.description, run.source, run.environment.hostname]
    assert [text for text in texts if escaped.render(text=text) not in html] == []


@pytest.mark.parametrize(
    ("state", "processes", "expected"),
    [
        (RunState.RUNNING, 1, "Process 1 of 5. The run is in progress"),
        (RunState.RUNNING, 3, "Process 3 of 5. The run is in progress"),
        (RunState.INTERRUPTED, 2, "Interrupted in process 2 of 5."),
        (RunState.INTERRUPTED, 0, "Interrupted in the first of 5 processes."),
    ],
)
def test_an_unfinished_run_says_so(state: RunState, processes: int, expected: str) -> None:
    cases = synthetic.cases(4)
    made = synthetic.blocks(1e-4, processes=processes)
    results = tuple(synthetic.result(case, made=made) for case in cases[:3])
    run = replace(
        synthetic.empty_run(),
        results=results if processes else (),
        unmeasured=tuple(cases[3:]),
        state=state,
        finished_at=None,
    )
    html = page.render(run)
    assert expected in html
    assert "1 case so far" in html and "not yet" in html
    assert expected.split(":")[0].split(".")[0] not in page.render(replace(run, state=RunState.FINISHED))


def test_wrong_results_stand_at_the_head(run: Run) -> None:
    wrong = replace(run, results=tuple(_failed(result) for result in run.results[:3]))
    assert "3 of 3 cases are wrong" in page.render(wrong)
    coarse = replace(run.results[3], status=Status.IMPRECISE, reason="less precision than float32")
    assert "1 of 1 case is imprecise" in page.render(replace(run, results=(coarse,)))
    both = page.render(replace(wrong, results=(*wrong.results, coarse)))
    assert "3 of 4 cases are wrong, 1 imprecise" in both
    assert 'data-status="imprecise">imprecise</span>' in both
    assert [trouble.status for trouble in troubles(replace(wrong, results=(coarse, *wrong.results)))][-1] == "imprecise"
    assert "All 3 cases are right" in page.render(replace(run, results=run.results[:3], rejections=()))


def _tile(run: Run, title: str) -> page.AnswerTile:
    known = Rows(run)
    return next(tile for tile in page.tiles_of(run, known, frame(run, rows=known)) if tile.title == title)


def test_cases_that_could_not_run_are_not_called_right(run: Run) -> None:
    crashed = synthetic.result(run.results[3].case, status=Status.CRASHED, reason="signal 11")
    tile = _tile(replace(run, results=(*run.results[:3], crashed)), "Correctness")
    assert (tile.answer, tile.mood) == ("All 3 cases that ran are right", "good")
    assert _tile(replace(run, results=run.results[:1]), "Correctness").answer == "The case is right"


def test_what_was_judged_by_norm_is_not_called_exact(run: Run) -> None:
    exact = run.results[:3]
    normed = tuple(
        synthetic.with_facts(r, check=replace(r.facts.check, method="normwise")) for r in exact if r.facts.check
    )
    start = "Before timing, shapes and values of each case were compared with exact arithmetic"
    for results, some in (
        (exact, ""),
        ((*exact[:2], *normed[2:]), " (1 case with kernels that are not exact)"),
        (normed, " (all with kernels that are not exact)"),
    ):
        assert _tile(replace(run, results=results), "Correctness").detail == f"{start}{some}, on the same tensors."


@pytest.mark.parametrize(
    ("probe", "apart", "processes", "answer", "mood"),
    [
        (1.0, 0.0, 5, "Quiet", "good"),
        (1.3, 0.0, 5, "Noisy, floors agree", "warn"),
        (1.3, 0.0, 1, "Noisy: one process is not enough", "warn"),
        (1.3, 0.8, 5, "Noisy: repeat the run", "bad"),
        (1.0, 0.8, 5, "Noisy: repeat the run", "bad"),
        (math.nan, 0.0, 5, "Unknown: no probe ran", "plain"),
    ],
)
def test_how_far_to_trust_times_is_told(probe: float, apart: float, processes: int, answer: str, mood: str) -> None:
    made = tuple(
        replace(
            block,
            minimum_s=block.minimum_s * (1 + apart * (block.process_index == 1)),
            compute_probe_s=324e-6 * (1.0 if block.round_index == 0 and probe > 1 else probe),
        )
        for block in synthetic.blocks(1e-4, noise=0.0, processes=processes)
    )
    results = tuple(synthetic.result(case, made=made) for case in synthetic.cases(3))
    tile = _tile(replace(synthetic.empty_run(), results=results), "Noise")
    assert (tile.answer, tile.mood) == (answer, mood)


@pytest.mark.parametrize(
    ("devices", "named"),
    [
        (("cpu", "cpu"), "AMD EPYC 7B13"),
        (("cuda", "cuda:1"), "H100"),
        (("cpu", "cuda"), "AMD EPYC 7B13, H100"),
    ],
)
def test_the_byline_names_the_devices_of_the_cases(devices: tuple[str, ...], named: str) -> None:
    cases = zip(synthetic.cases(2), devices, strict=True)
    results = tuple(synthetic.result(replace(case, device=device)) for case, device in cases)
    run = replace(synthetic.empty_run(), results=results)
    run = replace(run, environment=replace(run.environment, accelerator="H100"))
    assert page.machine_text(run, frame(run)) == f"{named}, 2 cores, torch 2.13.0+cpu"
    skipped = tuple(replace(result, status=Status.SKIPPED) for result in results)
    lone = replace(run, results=skipped)
    assert page.machine_text(lone, frame(lone)).startswith("AMD EPYC 7B13, ")


def _failed(result: Result) -> Result:
    return replace(result, status=Status.FAILED, reason="output[0] is 1, should be 2")


def test_a_lone_surrogate_costs_no_report() -> None:
    page.render(replace(synthetic.empty_run(), name="\ud800")).encode()


def test_troubles_are_told_wrong_results_first(run: Run) -> None:
    told = troubles(run)
    assert len(told) == sum(result.status is not Status.PASSED for result in run.results)
    assert told[0].status == "failed" and "out of memory" in {trouble.status for trouble in told}
    assert all(trouble.reason for trouble in told)


def test_refusals_are_grouped_by_reason_the_most_frequent_first() -> None:
    rejections = tuple(Rejection(label=label, reason=reason) for label, reason in ("ax", "by", "cy"))
    assert refusals(replace(synthetic.empty_run(), rejections=rejections)) == [("y", ["b", "c"]), ("x", ["a"])]


def test_the_columns_of_the_table(run: Run) -> None:
    columns = {column.name: column for column in case_table(frame(run))}
    shown = {name for name, column in columns.items() if column.shown}
    assert {"label", "status", "floor_s", "typical_s", "spread", "tflops", "implementation"} == shown
    assert {column.name for column in columns.values() if column.narrow} == {"label", "status", "floor_s"}
    assert {"bias", "count", "p95_s", "case_id", "kernel_size", "dtype"} <= set(columns)
    names = list(columns)
    assert names.index("implementation") < names.index("stride") < names.index("gbps") < names.index("p95_s")
    assert columns["floor_s"].unit == "us" and columns["tflops"].heading == "GFLOP/s"
    assert columns["floor_s"].show(12.34567e-6) == "12.3" and columns["floor_s"].show(4.56789e-3) == "4,568"
    assert columns["spread"].show(0.0123) == "1.2" and columns["spread"].show(None) == ""
    assert columns["flops"].show(1_849_688_064) == "1,850" and columns["flops"].unit == "MFLOP"


def test_the_table_begins_with_what_is_wrong_and_what_takes_the_most_time(run: Run) -> None:
    made = synthetic.run(120, unmeasured=3)
    table = frame(
        replace(
            made, results=tuple(replace(r, case=replace(r.case, count=1 + i % 5)) for i, r in enumerate(made.results))
        )
    )
    ordered = table.iloc[by_weight(table)]
    statuses = ordered["status"].fillna("not reached").tolist()
    order = ["failed", "passed", *(status for status in Status if status in UNMEASURED), "skipped", "not reached"]
    assert statuses == sorted(statuses, key=order.index) and set(statuses) == set(order)
    total = (ordered["floor_s"] * ordered["count"])[ordered["status"] == "passed"].tolist()
    assert total == sorted(total, reverse=True) and len(total) > 20


def test_rows_for_readers_without_scripts(run: Run) -> None:
    table = frame(run)
    columns = case_table(table)
    first = rows(table, columns, 3)
    assert len(first) == 3 and [column for column, _ in first[0]] == [column for column in columns if column.shown]
    assert [text for column, text in first[1] if column.name == "label"] == [table["label"][1]]


def test_a_case_no_process_has_reached_is_in_the_table() -> None:
    table = frame(synthetic.run(10, unmeasured=2))
    told = [{column.name: text for column, text in row} for row in rows(table, case_table(table), 10)]
    assert [row["status"] for row in told[-2:]] == ["not reached", "not reached"]
    assert [row["floor_s"] for row in told[-2:]] == ["", ""]


def test_the_page_carries_every_number_of_the_frame(run: Run, html: str) -> None:
    table, carried = frame(run), payload(html, "data")
    for name, column in COLUMNS.items():
        if table[name].isna().all():
            assert name not in carried.head["cases"]
            continue
        seen = carried.column(name)
        for here, there in zip(seen, table[name], strict=True):
            if here is None:
                assert pd.isna(there)
            elif column.kind is ColumnType.NUMBER:
                assert here == pytest.approx(there, rel=1e-6)
            else:
                assert here == there


def test_the_page_carries_every_block(run: Run, html: str) -> None:
    carried = payload(html, "blocks")
    counts = carried.array(carried.head["counts"]).tolist()
    starts = np.cumsum([0, *counts])
    steps = {name: carried.array(carried.head[name]) for name in ("minimum", "median", "probe", "times", "processes")}
    floors = frame(run)["floor_s"]
    for row, result in enumerate(run.results):
        blocks = [block for layout, packed in result.blocks for block in unpack_blocks(packed, layout)]
        assert counts[row] == len(blocks)
        for place, block in enumerate(blocks, start=starts[row]):
            seen = floors[row] * np.exp(steps["minimum"][place] * 1e-4)
            assert seen == pytest.approx(block.minimum_s, rel=1e-4)
            seen = floors[row] * np.exp(steps["median"][place] * 1e-4)
            assert seen == pytest.approx(block.median_s, rel=1e-4)
            assert steps["processes"][place] == block.process_index
            seconds = carried.head["seconds"]
            assert steps["times"][place] / 65535 * seconds == pytest.approx(block.start_s, abs=seconds / 65535)


def test_findings_are_linked_to_their_cases(run: Run, html: str) -> None:
    carried = payload(html, "data")
    ids = carried.column("case_id")
    seen = examined(run)
    found = list(with_details(seen.findings))
    assert len(found) == len(carried.head["findings"]) > len(seen.findings) > 3
    for finding, told in zip(found, carried.head["findings"], strict=True):
        assert told["sentence"] == finding.sentence
        assert {ids[row] for row in carried.array(told["cases"])} == set(finding.cases)
    top, rest = page.finding_views(seen)
    links = {link["data-contrast"]: link["href"] for link in _Reader(html).all("a") if "data-contrast" in link}
    views = [view for each in (*top, *rest) for view in (each, *each.details)]
    assert len(views) == len(found), "no case of this run is called right, so all findings are shown"
    for view in views:
        finding = found[view.number]
        if view.contrast is None:
            assert view.cases == (units.plural(len(finding.cases), "case") if finding.cases else "")
            continue
        contrast = seen.contrasts[view.contrast]
        assert (contrast.axis, contrast.base, contrast.other) == (finding.axis, *finding.values)
        if view.cases:
            assert view.cases == units.plural(len(contrast), "pair") and links[str(view.contrast)] == f"#{view.link}"
    assert any(each.details and not each.details[0].cases for each in top), "one link for a headline and its detail"


def test_the_page_carries_every_pair_that_proves_a_finding(run: Run, html: str) -> None:
    seen = examined(run)
    head, carried = payload(html, "data").head, payload(html, "pairs")
    arrays = {name: carried.array(told) for name, told in carried.head.items()}
    assert [each["pairs"] for each in head["contrasts"]] == [len(each) for each in seen.contrasts]
    assert sum(each["pairs"] for each in head["contrasts"]) == len(arrays["base"]) > 50
    start = 0
    for told, contrast in zip(head["contrasts"], seen.contrasts, strict=True):
        part = slice(start, start + len(contrast))
        assert told["values"] == page.values_text(contrast)
        assert arrays["base"][part].tolist() == contrast.base_rows.tolist()
        assert arrays["other"][part].tolist() == contrast.other_rows.tolist()
        assert np.exp(arrays["ratio"][part] * 5e-4) == pytest.approx(contrast.ratio, rel=3e-4)
        assert np.exp(arrays["noise"][part] * 1e-4) == pytest.approx(1 + contrast.noise, rel=1e-4)
        assert arrays["verdict"][part].tolist() == contrast.verdict.tolist()
        start = part.stop
    first = seen.contrasts[head["first"]]
    leading = next(each for each in with_details(seen.findings) if each.values and each.axis in EXECUTION)
    assert (first.axis, first.base, first.other) == (leading.axis, *leading.values)


def test_first_findings_hold_no_notes_and_the_tile_alone_says_that_all_is_right() -> None:
    made = replace(synthetic.empty_run(), results=tuple(synthetic.result(case) for case in synthetic.cases(40)))
    seen = examined(made)
    assert any(each.kind is FindingKind.RIGHT for each in seen.findings)
    top, rest = page.finding_views(seen)
    weights = {number: each.weight for number, each in enumerate(with_details(seen.findings))}
    assert top and all(weights[view.number] < Weight.NOTE for view in top)
    assert rest and not any("right result" in view.sentence for view in (*top, *rest))
    alone = examined(replace(made, results=made.results[:1]))
    shown, folded = page.finding_views(alone)
    assert shown and not folded, "notes are shown where there is nothing else"


def test_a_case_as_yaml_is_the_same_case() -> None:
    cases = [
        *(result.case for result in synthetic.run(60, hostile=False).results),
        Case(
            problem=Problem(
                in_channels=4, out_channels=6, kernel_size=(1, 7), input_size=(9, 30), groups=2, dilation=(1, 2)
            ),
            module="torch.nn.Conv2d",
            env=(("A", "x: {y}, #z"), ("B", "z")),
            given_label='"quoted": [1, 2] # no comment, ümlaut 🧮',
            count=7,
        ),
    ]
    for case in cases:
        text = f"seed: 42\ncases:\n  - {case_mapping(case)}\nmeasure: {measure_mapping(Measure(processes=3))}\n"
        sweep = parse_sweep(text, "one.yaml")
        (again,) = sweeps.cases(sweep).cases
        assert (again, again.label, again.count, sweep.measure.processes) == (case, case.label, case.count, 3)


def _channels(values: tuple[int, ...], direction: Direction, *, times: float = 1.0) -> list[Result]:
    """Layers whose floor is 10 us per in channel, times a factor, without any noise."""
    return [
        synthetic.result(
            case := Case(
                problem=Problem(in_channels=value, out_channels=8, kernel_size=(3, 3), input_size=(8, 8)),
                direction=direction,
            ),
            made=synthetic.blocks(1e-5 * value * times, noise=0.0, seed=case.id),
        )
        for value in values
    ]


def _axes(run: Run) -> dict[str, figures.PlotAxis]:
    return {axis.name: axis for axis in figures.axes(frame(run))}


def _numbers(run: Run) -> dict[str, figures.Numbers]:
    seen = examined(run)
    return {told.axis: told for told in figures.numbers(seen.evidence, figures.axes(seen.table))}


def test_time_over_an_axis_forward_beside_backward() -> None:
    results = (*_channels((64, 1, 8), Direction.FORWARD), *_channels((1, 8, 64), Direction.BACKWARD, times=2.0))
    run = replace(synthetic.empty_run(), results=results)
    channels = _axes(run)["in_channels"]
    assert (channels.scale, channels.places, channels.texts) == (Scale.LOG, (1.0, 8.0, 64.0), ("1", "8", "64"))
    assert channels.codes.tolist() == [2, 0, 1, 0, 1, 2]
    told = _numbers(run)["in_channels"]
    assert told.directions == ("forward", "backward")
    values = [[float(text.split()[0]) for text in times] for _, times in told.rows]
    assert np.allclose(values, [[10, 20], [80, 160], [640, 1280 / 1000]], rtol=0.01)
    assert re.search(r"6\d(\.\d)?x as long forward \(1 matched layer\)", told.summary)
    assert _axes(run)["direction"].scale is Scale.WORDS and _numbers(run)["direction"].directions == ("all directions",)


def test_the_mean_rests_on_layers_measured_at_every_value() -> None:
    results = (*_channels((1, 2), Direction.FORWARD), *_channels((1,), Direction.BACKWARD, times=100.0))
    run = replace(synthetic.empty_run(), results=results)
    assert [times[1] for _, times in _numbers(run)["in_channels"].rows] == ["-", "-"]
    assert _axes(run)["in_channels"].scale is Scale.LINEAR


def test_no_mean_has_threads_that_waited_for_cores_and_no_setting_of_equal_work_has_a_second_ratio() -> None:
    made = synthetic.empty_run()
    cores = made.environment.cores
    layers = [synthetic.layer(c, threads=t) for t in (1, cores) for c in (8, 16)]
    took = dict(zip(layers, (1e-3, 2e-3, 900e-3, 3e-3), strict=True))
    results = [
        synthetic.with_facts(synthetic.result(case, made=synthetic.blocks(s, noise=0.0)), threads=case.threads)
        for case, s in took.items()
    ]
    facts = (ProcessFacts(process_index=0, seconds=1.0, twin_ratio=3.0),)
    told = _numbers(replace(made, results=tuple(results), processes=facts))
    assert set(told) == {"in_channels"} and re.search("1.99x|2.00x", told["in_channels"].summary)
    quiet = _numbers(replace(made, results=tuple(results)))
    assert quiet["threads"].summary == "Times forward (2 matched layers)."
    assert next(times for _, times in quiet["threads"].rows) != ("-",)


def test_wrong_layers_are_never_drawn() -> None:
    run = replace(synthetic.empty_run(), results=tuple(_failed(r) for r in _channels((1, 2), Direction.FORWARD)))
    assert _numbers(run) == {} and figures.ranking_summary(frame(run)) is None


def test_words_keep_their_order_and_pairs_go_by_size() -> None:
    axes = _axes(synthetic.run(150, troubles=False))
    assert axes["batch_size"].texts == ("unbatched", "1", "8")
    assert axes["padding"].texts == ("valid", "1x1")
    assert axes["dtype"].texts == ("float32", "bfloat16")
    assert axes["kernel_size"].texts == ("1x1", "3x3") and axes["kernel_size"].places == (1.0, 3.0)


def test_roofs_are_the_highest_of_all_processes_by_dtype() -> None:
    def roofs(scale: float) -> tuple[Roof, ...]:
        common = {"device": "cpu", "threads": 1, "source": "made up"}
        compute = [Roof(kind=RoofKind.COMPUTE, rate=rate * scale, dtype=d, **common) for d, rate in _RATES.items()]
        copies = [
            Roof(kind=RoofKind.BANDWIDTH, rate=rate / scale, footprint_bytes=size, **common)
            for size, rate in ((2**15, 80e9), (2**27, 20e9))
        ]
        return (*compute, *copies)

    processes = tuple(ProcessFacts(process_index=i, seconds=1.0, roofs=roofs(1 + i / 10)) for i in range(2))
    found = {ceiling.name: ceiling for ceiling in figures.ceilings(replace(synthetic.empty_run(), processes=processes))}
    assert {name: ceiling.flops_per_s for name, ceiling in found.items()} == {
        "float32": pytest.approx(110e9),
        "bfloat16": pytest.approx(220e9),
    }
    assert found["float32"].copies == ((2**15, 80e9), (2**27, 20e9))


_RATES = {"float32": 100e9, "bfloat16": 200e9}


@pytest.mark.parametrize(
    ("value", "significant", "decimals", "expected"),
    [
        (1234.5678, 3, 0, "1,235"),
        (12.345, 3, 0, "12.3"),
        (0.001234, 3, 0, "0.00123"),
        (0.0, 3, 0, "0"),
        (1234567.0, None, 0, "1,234,567"),
        (99.95, None, 1, "100.0"),
        (None, 3, 0, ""),
        (math.nan, 3, 0, ""),
    ],
)
def test_numbers_of_a_column(value: float | None, significant: int | None, decimals: int, expected: str) -> None:
    assert units.number(value, significant=significant, decimals=decimals) == expected


def test_the_unit_that_suits_a_time() -> None:
    assert [units.time_unit(value)[1] for value in (3.0, 4e-3, 5e-6, 6e-9, 0.0)] == ["s", "ms", "us", "ns", "ns"]
    assert units.time_unit(4e-3)[0] == pytest.approx(1e3)


def test_large_spreads_are_ratios() -> None:
    spreads = (0.0123, 0.999, 1.0, 357.73)
    assert [units.apart(spread) for spread in spreads] == ["1.2 %", "99.9 %", "2.00x", "359x"]
    made = synthetic.run(3, troubles=False)
    wide = [
        replace(b, minimum_s=b.minimum_s * (400 if b.process_index else 1)) for b in synthetic.blocks(1e-3, noise=0.0)
    ]
    results = tuple(synthetic.result(result.case, made=tuple(wide)) for result in made.results)
    run = replace(made, results=results)
    known = Rows(run)
    noise = next(tile for tile in page.tiles_of(run, known, frame(run, rows=known)) if tile.title == "Noise")
    assert re.search(r"agree within \d{3}x, 90\s% of them within \d{3}x", noise.more)
    assert noise.detail.endswith("at its fastest."), "one figure, the rest folded"


def test_how_the_machine_was_meanwhile_is_told_where_the_system_tells() -> None:
    processes = (
        ProcessFacts(process_index=0, seconds=1.0, load=0.5, stolen=0.25, throttled=0),
        ProcessFacts(process_index=1, seconds=1.0, load=1.25, stolen=None, throttled=0),
    )
    facts = dict(page.facts_of(replace(synthetic.run(3), processes=processes), 1.021))
    assert facts["load, each process"] == "0.5, 1.2"
    assert facts["stolen by other guests"] == "25.0 %, -"
    assert "frequency" not in facts
    assert "slowed down (times)" not in facts
