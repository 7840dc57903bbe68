"""The report's text, tables and figures, without a browser (see test_report_browser.py)."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import synthetic

from convbench import units
from convbench.analysis.frame import frame
from convbench.case import Case
from convbench.problem import Direction, Problem
from convbench.report import page
from convbench.report.figures import MOST_LINES, Scale, axis_figures, ranking
from convbench.report.tables import case_table, refusals, troubles
from convbench.result import PassFacts, Rejection, Result, Run, RunState, Status


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
    assert len(reader.all("script")) == 5 and not reader.all("img") and not reader.all("b") and not reader.all("i")
    assert not any(name.startswith("on") for _, attributes in reader.elements for name in attributes)
    data = json.loads(reader.text["data"])
    assert data["values"]["label"] == [result.case.label for result in run.results]


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
    assert targets <= {str(a["id"]) for _, a in reader.elements if "id" in a}


def test_libraries_travel_once_and_small(html: str) -> None:
    assert len(html) < 2.6e6
    reader = _Reader(html)
    assert _unpacked(reader, "plotly").count("* plotly.js v") == 1
    assert "globalThis.DataTable=" in _unpacked(reader, "datatables")
    assert not re.search(r"\bexport\{", _unpacked(reader, "datatables"))


def test_every_case_rejection_and_reason_is_in_the_page(run: Run, html: str) -> None:
    escaped = page._templates().from_string("{{ text }}")
    texts = [result.case.label for result in run.results]
    texts += [result.reason for result in run.results if result.reason]
    texts += [text for rejection in run.rejections for text in (rejection.label, rejection.reason)]
    texts += [run.description, run.source, run.environment.hostname]
    assert [text for text in texts if escaped.render(text=text) not in html] == []


@pytest.mark.parametrize(
    ("state", "passes", "expected"),
    [
        (RunState.RUNNING, 1, "Pass 1 of 5: a first picture."),
        (RunState.RUNNING, 3, "Pass 3 of 5: the picture so far."),
        (RunState.INTERRUPTED, 2, "Interrupted in pass 2 of 5."),
        (RunState.INTERRUPTED, 0, "Interrupted in the first of 5 passes."),
    ],
)
def test_an_unfinished_run_says_so(state: RunState, passes: int, expected: str) -> None:
    cases = synthetic.cases(4)
    made = synthetic.blocks(1e-4, passes=passes)
    results = tuple(synthetic.result(case, made=made) for case in cases[:3])
    run = replace(
        synthetic.empty_run(),
        results=results if passes else (),
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
    assert "3 of 3 layers are wrong" in page.render(wrong)
    assert "All 3 layers are right" in page.render(replace(run, results=run.results[:3], rejections=()))


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


def test_the_table_holds_the_frame(run: Run) -> None:
    table = frame(run)
    cases = case_table(table)
    shown = {column.name: column for column in cases.columns}
    assert {"kernel_size", "stride", "padding", "batch_size", "direction", "dtype", "memory_format"} <= set(shown)
    assert "bias" not in shown and "count" not in shown
    for name in ("floor_s", "typical_s", "spread", "tflops", "gbps"):
        for seen, measured in zip(cases.values[name], table[name], strict=True):
            assert (seen is None and math.isnan(measured)) or seen == pytest.approx(measured, rel=1e-5)
    assert shown["floor_s"].unit == "us"
    assert shown["floor_s"].show(12.34567e-6) == "12.3" and shown["floor_s"].show(4.56789e-3) == "4,568"
    assert shown["spread"].show(0.0123) == "1.2" and shown["spread"].show(None) == ""


def test_a_case_no_pass_has_reached_is_in_the_table() -> None:
    cases = case_table(frame(synthetic.run(10, unmeasured=2)))
    assert cases.values["status"][-2:] == ["not reached", "not reached"]
    assert cases.values["floor_s"][-2:] == [None, None]


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


def test_time_over_an_axis_forward_beside_backward() -> None:
    results = (*_channels((64, 1, 8), Direction.FORWARD), *_channels((1, 8, 64), Direction.BACKWARD, times=2.0))
    figures = axis_figures(frame(replace(synthetic.empty_run(), results=results)))
    channels, directions = figures
    assert (channels.axis, channels.scale, channels.places) == ("in_channels", Scale.LOG, (1.0, 8.0, 64.0))
    assert channels.texts == ("1", "8", "64")
    assert [panel.title for panel in channels.panels] == ["forward", "backward"]
    forward, backward = channels.panels
    assert forward.lines == (((0, 1), (1, 2), (2, 0)),) and backward.lines == (((0, 3), (1, 4), (2, 5)),)
    assert forward.middle == pytest.approx((1e-5, 8e-5, 64e-5), rel=0.01)
    assert backward.middle == pytest.approx((2e-5, 16e-5, 128e-5), rel=0.01)
    assert "64.0x as long forward (1 matched layer)" in channels.summary.replace("64.1x", "64.0x").replace(
        "63.9x", "64.0x"
    )
    assert (directions.axis, directions.scale) == ("direction", Scale.WORDS)
    assert [len(line) for line in directions.panels[0].lines] == [2, 2, 2]


def test_the_mean_rests_on_layers_measured_at_every_value() -> None:
    results = (*_channels((1, 2), Direction.FORWARD), *_channels((1,), Direction.BACKWARD, times=100.0))
    channels = next(f for f in axis_figures(frame(replace(synthetic.empty_run(), results=results))))
    assert [(panel.title, panel.layers, len(panel.middle)) for panel in channels.panels] == [
        ("forward", 1, 2),
        ("backward", 0, 0),
    ]
    assert channels.scale is Scale.LINEAR


def test_wrong_layers_are_never_drawn() -> None:
    run = replace(synthetic.empty_run(), results=tuple(_failed(r) for r in _channels((1, 2), Direction.FORWARD)))
    assert axis_figures(frame(run)) == () and ranking(frame(run)) is None


def test_words_keep_their_order_and_pairs_go_by_size() -> None:
    figures = {figure.axis: figure for figure in axis_figures(frame(synthetic.run(150, troubles=False)))}
    assert figures["batch_size"].texts == ("unbatched", "1", "8")
    assert figures["padding"].texts == ("valid", "1x1")
    assert figures["dtype"].texts == ("float32", "bfloat16")
    assert figures["kernel_size"].texts == ("1x1", "3x3") and figures["kernel_size"].places == (1.0, 3.0)


def test_many_cases_are_thinned_where_they_are_drawn_only() -> None:
    table = frame(synthetic.run(2000, troubles=False))
    ranked = ranking(table)
    assert ranked is not None
    assert len(ranked.rows) == 1000 and ranked.total == 2000
    floors = table["floor_s"].to_numpy()[list(ranked.rows)]
    assert (
        (floors[1:] >= floors[:-1]).all()
        and floors[0] == table["floor_s"].min()
        and floors[-1] == table["floor_s"].max()
    )
    panels = [panel for figure in axis_figures(table) for panel in figure.panels]
    assert max(len(panel.lines) for panel in panels) == MOST_LINES
    assert max(panel.layers for panel in panels) > MOST_LINES


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


def test_how_the_machine_was_meanwhile_is_told_where_the_system_tells() -> None:
    passes = (
        PassFacts(pass_index=0, seconds=1.0, load=0.5, stolen=0.25, throttled=0),
        PassFacts(pass_index=1, seconds=1.0, load=1.25, stolen=None, throttled=0),
    )
    facts = dict(page._facts(replace(synthetic.run(3), passes=passes)))
    assert facts["load, each pass"] == "0.5, 1.2"
    assert facts["stolen by other guests"] == "25.0 %, -"
    assert "frequency" not in facts
    assert "slowed down (times)" not in facts
