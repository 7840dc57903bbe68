"""The report as a reader's browser shows it."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic
from browser import Opened, all_drawn, cases_shown, opened, until
from browser_scripts import call
from playwright.sync_api import Browser, Page

from convbench import sweep as sweeps
from convbench.analysis.findings.findings import FindingKind, examined, findings, with_details
from convbench.analysis.table.columns import COLUMNS, ColumnType
from convbench.analysis.table.frame import frame
from convbench.model.result import ProcessFacts, Roof, RoofKind, Run, RunState, Status
from convbench.report.export import to_csv
from convbench.report.pages import run as report
from convbench.report.pages.tables import by_weight, case_table, rows
from convbench.sweep.parse import parse as parse_sweep

pytestmark = pytest.mark.browser

CASES = 160
PICTURES = ("ratio", "explore", "heat", "sides", "roofline", "network", "ranking", "noise")


def _roofs() -> tuple[Roof, ...]:
    common = {"device": "cpu", "threads": 1, "source": "made up"}
    rates = (("float32", 100e9), ("bfloat16", 200e9))
    compute = [Roof(kind=RoofKind.COMPUTE, rate=rate, dtype=dtype, **common) for dtype, rate in rates]
    sizes = ((2**15, 80e9), (2**27, 20e9))
    copies = [Roof(kind=RoofKind.BANDWIDTH, rate=rate, footprint_bytes=size, **common) for size, rate in sizes]
    return (*compute, *copies)


@pytest.fixture(scope="module")
def run() -> Run:
    """Every status, hostile labels, roofs, and layers that occur several times."""
    made = synthetic.run(CASES)
    results = tuple(
        replace(result, case=replace(result.case, count=1 + i % 3)) for i, result in enumerate(made.results)
    )
    return replace(made, results=results, processes=(ProcessFacts(process_index=0, seconds=90.0, roofs=_roofs()),))


@pytest.fixture(scope="module")
def table(run: Run) -> pd.DataFrame:
    return frame(run)


@pytest.fixture(scope="module")
def ranked(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["status"] == "passed").fillna(False)]


@pytest.fixture(scope="module")
def file(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(run, tmp_path_factory.mktemp("report"))


def _write(run: Run, folder: Path) -> Path:
    path = folder / report.file_name(run)
    path.write_text(report.render(run), encoding="utf-8")
    return path


@contextmanager
def _ready(browser: Browser, file: Path, view: str = "", **settings: object) -> Iterator[tuple[Page, Opened]]:
    """The page with its scripts done, at the view that a link names; at the end it has complained of nothing."""
    with opened(browser, file, view=view, **settings) as seen:
        seen.page.wait_for_selector("html[data-ready]")
        yield seen.page, seen
        assert seen.console == []
        own = file.as_uri()
        assert [url for url in seen.requests if url.partition("#")[0] != own and not url.startswith("blob:")] == []


def _traces(page: Page, picture: str) -> list[dict[str, Any]]:
    """The traces of a picture that carry rows, once it is drawn."""
    page.locator(f"#picture-{picture}").scroll_into_view_if_needed()
    until(page, f"document.querySelector('#picture-{picture}').dataset.drawn")
    found: list[dict[str, Any]] = page.evaluate(
        f"document.querySelector('#picture-{picture} .plot').data.map((trace) => JSON.parse(JSON.stringify(trace)))"
    )
    return found


def _choose(page: Page, picture: str, **choice: str) -> None:
    """Choose in a picture's controls, and wait for the drawing."""
    figure = page.locator(f"#picture-{picture}")
    figure.scroll_into_view_if_needed()
    for key, value in choice.items():
        before = figure.get_attribute("data-drawn")
        select = figure.locator(f"select[name='{picture}.{key}']")
        if select.input_value() == value:
            continue
        select.select_option(value)
        drawn = "([id, before]) => ![undefined, before].includes(document.getElementById(id).dataset.drawn)"
        until(page, drawn, [f"picture-{picture}", before])


def _column(page: Page, heading: str) -> list[str]:
    """The texts of a column of the visible page of the table."""
    headings = [text.split("\n")[0].strip() for text in page.locator("#case-table thead th").all_inner_texts()]
    position = next(i for i, text in enumerate(headings) if text.startswith(heading)) + 1
    return page.locator(f"#case-table tbody td:nth-child({position})").all_inner_texts()


def _show(page: Page, *headings: str) -> None:
    """Show or hide columns of the table."""
    page.get_by_role("button", name="Columns").click()
    for heading in headings:
        page.locator(".dt-button-collection button", has_text=heading).first.click()
    page.keyboard.press("Escape")


def _row(table: pd.DataFrame, case_id: str) -> pd.Series:
    return table[table["case_id"] == case_id].iloc[0]


# Pictures


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_pictures_are_drawn_and_nothing_is_fetched(browser: Browser, file: Path, scheme: str, width: int) -> None:
    with _ready(browser, file, width=width, scheme=scheme) as (page, _):
        all_drawn(page)  # those out of view too, when the browser is idle
        assert page.locator("[data-picture]:not([hidden])").count() == len(PICTURES)
        for picture in PICTURES:
            assert page.locator(f"#picture-{picture} .plot svg").count() >= 1
            assert len(page.locator(f"#picture-{picture} .summary").inner_text()) > 20
        assert page.locator(f"[data-picture]:not([data-theme={scheme}])").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, paper[4:-1].split(","))) < 150) == (scheme == "dark")


def _means(table: pd.DataFrame, metric: str, over: str, by: list[str]) -> dict[tuple[object, ...], float]:
    """The geometric means of the explorer, by pandas: {(values of `by`, value of `over`): mean}."""
    settings = [name for name in _SWEPT if name != over]
    found: dict[tuple[object, ...], float] = {}
    for key, series in table.dropna(subset=[metric]).groupby(by, dropna=False) if by else [((), table)]:
        values = series[over].nunique(dropna=False)
        whole = series.groupby(settings, dropna=False).filter(lambda layer, n=values: len(layer) == n)
        if values < 2 or whole.groupby(settings, dropna=False).ngroups < 2:
            continue
        for value, cell in whole.groupby(over, dropna=False):
            found[(*key, value)] = float(np.exp(np.log(cell[metric]).mean()))
    return found


_SWEPT = ["kernel_size", "stride", "padding", "batch_size", "dtype", "memory_format", "direction", "in_channels"]


def test_the_explorer_shows_any_figure_over_any_setting(browser: Browser, ranked: pd.DataFrame, file: Path) -> None:
    with _ready(browser, file) as (page, _):
        _choose(page, "explore", x="kernel_size", y="tflops", colour="dtype", split="direction")
        traces = _traces(page, "explore")
        rows = [row for trace in traces for row in trace.get("customdata", []) if row is not None]
        assert sorted(rows) == sorted(ranked.index)
        bold = [trace for trace in traces if trace["type"] == "scatter" and trace.get("line", {}).get("width") == 3]
        means = sorted(value for trace in bold for value in trace["y"])
        expected = _means(ranked, "tflops", "kernel_size", ["dtype", "direction"])
        assert means == pytest.approx(sorted(expected.values()), rel=1e-5) and len(means) > 4
        legend = [trace["name"] for trace in traces if trace.get("showlegend")]
        assert legend == ["float32", "bfloat16"]
        titles = page.locator("#picture-explore .annotation-text").all_text_contents()
        assert titles == ["Direction: forward", "Direction: backward"]
        _choose(page, "explore", y="efficiency", split="", colour="")
        values = [value for trace in _traces(page, "explore") for value in trace["y"] if value is not None]
        assert max(values) == pytest.approx(ranked["efficiency"].max(), rel=1e-5)
        assert "explore.y=efficiency" in page.url and "explore.x" not in page.url.replace("explore.x=kernel_size", "")


def test_a_heat_map_over_any_two_settings(browser: Browser, ranked: pd.DataFrame, file: Path) -> None:
    with _ready(browser, file) as (page, _):
        _choose(page, "heat", x="dtype", y="direction", metric="floor_s")
        (heat,) = (trace for trace in _traces(page, "heat") if trace["type"] == "heatmap")
        rest = [name for name in _SWEPT if name not in ("dtype", "direction")]
        whole = ranked.groupby(rest, dropna=False).filter(lambda layer: len(layer) == 4)
        for j, direction in enumerate(("forward", "backward")):
            for i, dtype in enumerate(("float32", "bfloat16")):
                cell = (whole["direction"] == direction) & (whole["dtype"] == dtype)
                expected = np.log10(np.exp(np.log(whole[cell]["floor_s"]).mean()))
                assert heat["z"][j][i] == pytest.approx(expected, abs=1e-5)
        told = page.locator("#picture-heat .summary").inner_text()
        assert f"over the {len(whole) // 4} layers measured in every cell" in told
        box = page.locator("#picture-heat .plot .nsewdrag").bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.75)  # forward, float32
        chosen = int(((ranked["direction"] == "forward") & (ranked["dtype"] == "float32")).sum())
        page.wait_for_selector("#chosen:visible")
        assert cases_shown(page) == chosen and f"the {chosen} cases that you chose" in page.inner_text("#chosen")


def test_the_same_layer_twice(browser: Browser, ranked: pd.DataFrame, file: Path) -> None:
    with _ready(browser, file) as (page, _):
        _choose(page, "sides", axis="direction")
        dots = [trace for trace in _traces(page, "sides") if trace.get("customdata")]
        rest = [name for name in _SWEPT if name != "direction"]
        both = ranked.pivot_table(index=rest, columns="direction", values="floor_s", dropna=False).dropna()
        assert sorted(dots[0]["y"]) == pytest.approx(sorted(both["backward"]), rel=1e-5)
        assert sorted(dots[0]["x"]) == pytest.approx(sorted(both["forward"]), rel=1e-5)
        ratio = float(np.exp(np.median(np.log(both["backward"] / both["forward"]))))
        told = page.locator("#picture-sides .summary").inner_text()
        assert len(both) >= 8
        assert told.startswith(f"backward over forward, of {len(both)} matched layers: longer in {len(both)} (")
        assert f"({ratio:.3g}x in the median). The range is " in told, "as the findings and the picture of ratios say"
        _choose(page, "sides", axis="dtype", colour="kernel_size")
        assert "bfloat16 over float32, of" in page.locator("#picture-sides .summary").inner_text()


def test_few_pairs_have_a_range_and_no_median(browser: Browser) -> None:
    page = browser.new_page()
    ratios = [[2, 3, 65, 2.5, 2.25, 2.5, 4], [2, 3, 65, 2.5, 2.25, 2.5, 4, 1.5], [1.5]]
    found = call(page, "sides.js", "sizeText", [[each, "one"] for each in ratios])
    page.close()
    assert found == [
        "2.00x to 65.0x as long as one in 7 matched layers",
        "2.50x as long as one in the median of 8 matched layers (1.50x to 65.0x)",
        "1.50x as long as one in 1 matched layer",
    ]


def test_the_roofline_has_every_case_and_the_roofs(browser: Browser, ranked: pd.DataFrame, file: Path) -> None:
    with _ready(browser, file) as (page, _):
        _choose(page, "roofline", colour="bound")
        traces = _traces(page, "roofline")
        (dots,) = (trace for trace in traces if trace.get("customdata"))
        rate = (ranked["flops"] / ranked["floor_s"]).astype(float)
        assert sorted(dots["y"]) == pytest.approx(sorted(rate), rel=1e-5)
        intensity = (ranked["flops"] / ranked["bytes"]).astype(float)
        assert sorted(dots["x"]) == pytest.approx(sorted(intensity), rel=1e-5)
        tops = {max(trace["y"]) for trace in traces if trace.get("mode") == "lines" and trace["line"]["width"] == 2}
        assert tops == {100e9, 200e9}
        bound = ranked["bound"].value_counts()
        told = page.locator("#picture-roofline .summary").inner_text()
        assert all(f"{name} in {bound[name]}" in told for name in bound.index)
        named = page.locator("#picture-roofline .annotation-text").all_text_contents()
        assert [text.split()[:2] for text in named] == [["\u25cf", "float32"], ["\u25a0", "bfloat16"]]
        shapes = dict(zip(dots["customdata"], dots["marker"]["symbol"], strict=True))
        assert {ranked.loc[row, "dtype"]: shape for row, shape in shapes.items()} == {
            "float32": "circle",
            "bfloat16": "square",
        }
        assert all("its roof of compute is that of" in text for text in dots["text"])


def test_where_the_network_spends_its_time(browser: Browser, run: Run, file: Path) -> None:
    ways = {way.name: way for ways in examined(run).networks for way in ways}
    with _ready(browser, file) as (page, _):
        _choose(page, "network", way="bfloat16 channels_last")
        bars = [trace for trace in _traces(page, "network") if trace["type"] == "bar"]
        seconds = sum(sum(trace["x"]) for trace in bars)
        assert len(ways) == 4 and seconds < ways["bfloat16 channels_last"].seconds * (1 + 1e-5)
        told = page.locator("#picture-network .summary").inner_text()
        rest = float((re.search(r"layers take ([\d.]+) %", told) or ["", "0"])[1]) / 100
        assert seconds == pytest.approx(ways["bfloat16 channels_last"].seconds * (1 - rest), rel=0.01)
        assert "(bfloat16 channels_last)" in page.locator("#picture-network .summary").inner_text()


def test_floors_beside_typical_times_and_blocks_in_the_order_of_time(
    browser: Browser, ranked: pd.DataFrame, file: Path
) -> None:
    with _ready(browser, file) as (page, _):
        stems, dots, *_ = _traces(page, "ranking")
        assert dots["y"] == pytest.approx(sorted(ranked["floor_s"]), rel=1e-5)
        tops = sorted(stems["y"][1::3])
        assert tops == pytest.approx(sorted(ranked["typical_s"]), rel=1e-5)
        blocks, probe = _traces(page, "noise")
        assert len(blocks["y"]) == 2500 < ranked["blocks"].sum()  # so many are drawn at most, and it says so
        assert f"2,500 of {ranked['blocks'].sum():,} blocks are drawn" in page.inner_text("#picture-noise .summary")
        assert min(blocks["y"]) == 1 and max(blocks["x"]) <= 84.01 and len(probe["x"]) > 10


def test_pictures_of_what_the_table_shows(browser: Browser, ranked: pd.DataFrame, file: Path) -> None:
    with _ready(browser, file) as (page, _):
        _traces(page, "ranking")
        page.check("#only-shown")
        page.fill(".dt-search input", "channels_last")
        some = ranked[ranked["label"].str.contains("channels_last")]
        page.locator("#picture-ranking").scroll_into_view_if_needed()
        page.wait_for_selector(f"#picture-ranking .summary:text('{len(some)} cases')")
        _, dots, *_ = _traces(page, "ranking")
        assert sorted(dots["customdata"]) == sorted(some.index)


def test_buttons_that_save_a_picture_cover_none_of_its_words(browser: Browser, file: Path) -> None:
    covered = """() => [...document.querySelectorAll(".plot .modebar-btn")].flatMap((button) => {
        const own = button.getBoundingClientRect();
        const texts = [...button.closest(".plot").querySelectorAll(".infolayer text")].filter((text) => {
            const { left, right, top, bottom } = text.getBoundingClientRect();
            return left < own.right && own.left < right && top < own.bottom && own.top < bottom;
        });
        return texts.map((text) => `${button.closest("[data-picture]").id}: ${text.textContent}`);
    })"""
    for width in (390, 1440):
        with _ready(browser, file, width=width) as (page, _):
            all_drawn(page)
            assert page.locator(".plot .modebar-btn").count() > 8
            assert page.evaluate(covered) == []


def test_a_search_that_finds_nothing_leaves_no_dot_and_another_draws_them_again(browser: Browser, file: Path) -> None:
    def each(what: str) -> str:
        return f"[...document.querySelectorAll('[data-picture]:not([hidden])')].map((figure) => {what})"

    said = each("figure.querySelector('.summary').textContent")
    with _ready(browser, file) as (page, _):
        all_drawn(page)
        before = page.evaluate(said)
        page.check("#only-shown")
        page.fill(".dt-search input", "no such word")
        idle = "window.becomeIdle?.(), "
        until(page, idle + each("figure.querySelector('.plot.empty')") + ".every(Boolean)")
        assert page.locator("[data-picture] .main-svg").count() == 0
        page.fill(".dt-search input", "")
        until(page, f"(before) => {{ {idle}0; return {said}.every((text, i) => text === before[i]); }}", before)
        page.locator("#picture-ratio").scroll_into_view_if_needed()
        page.locator("#picture-ratio .scatterlayer .point").first.click(force=True)
        assert page.locator("#case[open]").count() == 1


def test_pointing_at_a_dot_tells_all_and_a_click_opens_its_case(browser: Browser, tmp_path: Path) -> None:
    hostile = replace(synthetic.cases(1)[0], given_label="<b onclick=x>bold</b> %{x} &lt;")
    run = replace(synthetic.empty_run(), results=(synthetic.result(hostile), synthetic.result(synthetic.cases(2)[1])))
    with _ready(browser, _write(run, tmp_path)) as (page, _):
        all_drawn(page)  # what is drawn later moves the dots
        page.locator("#picture-ranking").scroll_into_view_if_needed()
        page.wait_for_selector("#picture-ranking[data-drawn] path.point")
        point = page.locator("#picture-ranking path.point").first.bounding_box()
        assert point is not None
        page.mouse.move(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
        told = page.locator("#picture-ranking .hoverlayer .hovertext").text_content() or ""
        assert "<b onclick=x>bold</b> %{x} &lt;" in told.replace("\xa0", " ") and "floor" in told
        page.mouse.click(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
        assert page.inner_text("#case-title") == hostile.label
        assert f"case={hostile.id}" in page.url


# The table


def test_the_table_shows_the_numbers_of_the_frame(browser: Browser, table: pd.DataFrame, file: Path) -> None:
    with _ready(browser, file) as (page, _):
        page.select_option(".dt-length select", "500")
        shown = page.locator("#case-table tbody tr").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
        )
        expected = rows(table.iloc[by_weight(table)], case_table(table), CASES)
        assert shown == [[text for _, text in row] for row in expected]


def test_sorting(browser: Browser, table: pd.DataFrame, file: Path) -> None:
    with _ready(browser, file) as (page, _):
        page.select_option(".dt-length select", "500")
        for direction in ("ascending", "descending"):
            page.locator("#case-table thead th", has_text="floor").locator(".dt-column-title").click()
            page.wait_for_selector(f"#case-table th[aria-sort={direction}]")
            texts = _column(page, "floor")
            numbers = [float(text.replace(",", "")) for text in texts if text]
            assert numbers == sorted(numbers, reverse=direction == "descending")
            assert len(numbers) == table["floor_s"].notna().sum() > 0
            assert not any(texts[len(numbers) :])  # what was not measured stands last, whichever way


def test_searching_and_filtering_a_column(browser: Browser, table: pd.DataFrame, file: Path) -> None:
    with _ready(browser, file) as (page, _):
        _show(page, "dtype", "images/s")
        page.fill(".dt-search input", "bfloat16")
        assert set(_column(page, "dtype")) == {"bfloat16"}
        assert cases_shown(page) == int((table["dtype"] == "bfloat16").sum())
        number = f"{table['images_per_second'].max():,.0f}"
        page.fill(".dt-search input", number)
        assert _column(page, "images/s") == [number], "a number is found as it is seen"
        page.fill(".dt-search input", "")
        page.locator("#case-table thead th", has_text="images/s").locator(".dtcc-button_dropdown").click()
        page.fill(".dtcc-dropdown input", number.replace(",", ""))
        page.wait_for_selector(".dt-info:text('of 1 case')")
        page.fill(".dtcc-dropdown input", "")
        page.keyboard.press("Escape")
        page.locator("#case-table thead th", has_text="check").locator(".dtcc-button_dropdown").click()
        page.locator(".dtcc-dropdown button", has_text="failed").click()
        failed = int((table["status"] == Status.FAILED).sum())
        page.wait_for_selector(f".dt-info:text('of {failed} cases')")
        assert _column(page, "check") == ["failed"] * failed
        assert page.locator("#case-table th[aria-sort]").count() == 0  # filtering does not sort


def test_choosing_columns(browser: Browser, table: pd.DataFrame, file: Path) -> None:
    with _ready(browser, file) as (page, _):
        assert "p95" not in page.inner_text("#case-table thead")
        _show(page, "p95", "typical")
        head = page.inner_text("#case-table thead")
        assert "p95" in head and "typical" not in head
        factor = next(column.factor for column in case_table(table) if column.name == "p95_s")
        first = table["p95_s"].iloc[by_weight(table)[0]]
        assert float(_column(page, "p95")[0].replace(",", "")) == pytest.approx(first * factor, rel=0.01)


def test_dots_are_reached_by_the_keyboard(browser: Browser, ranked: pd.DataFrame, file: Path) -> None:
    with _ready(browser, file) as (page, _):
        _traces(page, "ranking")
        page.focus("#picture-ranking .plot")
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        third = ranked.sort_values("floor_s", kind="stable").iloc[2]
        said = page.text_content("#picture-ranking .said") or ""
        assert " ".join(third["label"].split())[:20] in " ".join(said.replace("&lt;", "<").replace("&gt;", ">").split())
        page.keyboard.press("Enter")
        assert page.text_content("#case-title") == third["label"]
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.closest('figure').id") == "picture-ranking"


def test_an_open_case_follows_the_window_and_the_theme(browser: Browser, ranked: pd.DataFrame, file: Path) -> None:
    with _ready(browser, file, view=f"case={ranked['case_id'].iloc[0]}") as (page, _):
        page.wait_for_selector("#case-blocks[data-drawn=light]")
        page.set_viewport_size({"width": 600, "height": 900})
        drawing, dialog = (f"document.querySelector('{each}').clientWidth" for each in ("#case-blocks svg", "#case"))
        until(page, f"{drawing} <= {dialog}")
        page.emulate_media(color_scheme="dark")
        page.wait_for_selector("#case-blocks[data-drawn=dark]")


def _downloaded(page: Page, file: Path) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    assert download.value.suggested_filename == f"{file.stem}.csv"
    with Path(download.value.path()).open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def test_copy_and_download_what_is_shown(browser: Browser, run: Run, table: pd.DataFrame, file: Path) -> None:
    """The rows and columns that are shown, as `convbench export` writes them; the page holds numbers as float32."""
    exported = list(csv.DictReader(io.StringIO(to_csv(run).decode(), newline="")))
    with _ready(browser, file) as (page, _):
        page.fill(".dt-search input", "calc")
        assert {line["label"][:5] for line in _downloaded(page, file)} == {"'=cmd"}, "no formula for a spreadsheet"
        page.fill(".dt-search input", "bfloat16")
        read = _downloaded(page, file)
        expected = [exported[place] for place in by_weight(table) if exported[place]["dtype"] == "bfloat16"]
        assert list(read[0]) == [column.name for column in case_table(table) if column.shown]
        assert len(read) == len(expected) > 20
        for line, row in zip(read, expected, strict=True):
            for name, cell in line.items():
                if COLUMNS[name].kind is ColumnType.NUMBER and row[name]:
                    assert float(cell) == pytest.approx(float(row[name]), rel=1e-6)
                else:
                    assert cell == row[name]
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_role("button", name="Copy", exact=True).click()
        page.get_by_role("button", name="Copied").wait_for()
        assert page.locator(".dt-button-info").count() == 0, "nothing covers the page"
        copied = [line.split("\t") for line in page.evaluate("navigator.clipboard.readText()").rstrip().splitlines()]
        assert copied == [
            [" ".join(cell.split()) for cell in line] for line in (read[0], *(each.values() for each in read))
        ]


def test_a_link_shows_what_the_reader_saw(browser: Browser, table: pd.DataFrame, file: Path) -> None:
    with _ready(browser, file) as (page, _):
        _show(page, "direction")
        page.fill(".dt-search input", "bfloat16")
        page.locator("#case-table thead th", has_text="floor").locator(".dt-column-title").click()
        page.wait_for_selector("#case-table th[aria-sort=ascending]")
        page.locator("#case-table thead th", has_text="direction").locator(".dtcc-button_dropdown").click()
        page.locator(".dtcc-dropdown button", has_text="backward").click()
        page.keyboard.press("Escape")
        _choose(page, "explore", x="stride", y="gbps")
        seen = (_column(page, "case"), cases_shown(page))
        link = page.url.partition("#")[2]
    with _ready(browser, file, view=link) as (page, _):
        assert (_column(page, "case"), cases_shown(page)) == seen
        assert cases_shown(page) == int(((table["dtype"] == "bfloat16") & (table["direction"] == "backward")).sum())
        assert page.input_value(".dt-search input") == "bfloat16"
        assert page.input_value("select[name='explore.y']") == "gbps"
        assert page.input_value("select[name='explore.x']") == "stride"


@pytest.mark.parametrize(
    "view",
    [
        "table=%7Bnonsense&explore.x=no_such&only=finding:999&case=none",
        'table={"start":-3,"length":-5,"order":[[99,"up"],7],"columns":"x","filters":[1]}',
        "table=[]&only=rows:999999",
        "table=null&only=finding:&heat.x=&layer=%00",
    ],
)
def test_a_link_that_means_nothing_shows_all(browser: Browser, file: Path, view: str) -> None:
    with _ready(browser, file, view=view) as (page, _):
        assert cases_shown(page) == CASES and not page.is_visible("dialog#case") and not page.is_visible("#chosen")
        assert "1 to 25" in page.inner_text(".dt-info")
        assert _traces(page, "explore") and _traces(page, "heat")


def test_a_link_with_a_filter_on_a_hidden_column(browser: Browser, table: pd.DataFrame, file: Path) -> None:
    with _ready(browser, file) as (page, _):
        _show(page, "direction")
        page.locator("#case-table thead th", has_text="direction").locator(".dtcc-button_dropdown").click()
        page.locator(".dtcc-dropdown button", has_text="backward").click()
        page.keyboard.press("Escape")
        _show(page, "direction")
        link = page.url.partition("#")[2]
    with _ready(browser, file, view=link) as (page, _):
        assert "direction" not in page.inner_text("#case-table thead")
        assert cases_shown(page) == int((table["direction"] == "backward").sum())
        page.fill(".dt-search input", table.loc[table["direction"] == "backward", "case_id"].iloc[3])
        assert cases_shown(page) == 1  # by its id, though that column is hidden


def test_places_and_going_back_keep_the_view(browser: Browser, table: pd.DataFrame, file: Path) -> None:
    with _ready(browser, file) as (page, _):
        page.fill(".dt-search input", "bfloat16")
        page.locator("nav a", has_text="Pictures").click()
        assert "bfloat16" in page.url and page.evaluate("document.activeElement.id") == "pictures-title"
        _choose(page, "explore", y="tflops")
        page.locator("#case-table tbody a").first.click()
        assert "case=" in page.url
        page.go_back()
        until(page, "!document.getElementById('case').open")
        assert page.input_value("select[name='explore.y']") == "tflops" and "explore.y=tflops" in page.url
        assert cases_shown(page) == int((table["dtype"] == "bfloat16").sum())


# Findings


def test_findings_lead_to_their_cases(browser: Browser, tmp_path: Path) -> None:
    run = synthetic.run(250)  # in which bfloat16 loses at 3 channels and wins at 16
    file = _write(run, tmp_path)
    found = list(with_details(findings(run)))
    with _ready(browser, file) as (page, _):
        for number, finding in enumerate(found):
            item = page.locator(f"#finding-{number}")
            text = (item.locator("span").first.text_content() or "").strip()
            assert text.lower() == f"{finding.sentence}.".lower()
            assert item.locator(f"a[data-only='finding:{number}']").count() == (
                1 if finding.cases and not finding.values else 0
            )
        number, finding = next((i, f) for i, f in enumerate(found) if f.kind is FindingKind.WRONG)
        page.select_option(".dt-length select", "500")
        to_them = page.locator(f"a[data-only='finding:{number}']")
        assert to_them.inner_text() == f"{len(finding.cases)} cases"
        to_them.click()
        assert cases_shown(page) == len(finding.cases) > 1
        assert finding.sentence in (page.text_content("#chosen") or "")
        link = page.url.partition("#")[2]
        page.get_by_role("button", name="Show all cases").click()
        assert cases_shown(page) == len(run.results) and "only=" not in page.url
    with _ready(browser, file, view=link) as (page, _):
        assert cases_shown(page) == len(finding.cases)


# The page of a case


def test_the_page_of_a_case(browser: Browser, table: pd.DataFrame, ranked: pd.DataFrame, file: Path) -> None:
    case = ranked.iloc[7]
    with _ready(browser, file, view=f"case={case['case_id']}") as (page, _):
        assert page.text_content("#case-title") == case["label"]
        numbers = dict(
            page.locator("#case-numbers > div").evaluate_all(
                "all => all.map((each) => [each.dataset.name, each.querySelector('dd').textContent])"
            )
        )
        columns = {column.name: column for column in case_table(table)}
        for name, text in numbers.items():
            value = case[name]
            value = str(value).lower() if isinstance(value, bool | np.bool_) else value
            assert text == f"{columns[name].show(value)} {columns[name].unit}".strip(), name
        assert {"floor_s", "typical_s", "max_error", "implementation", "flops", "bytes", "threads"} <= set(numbers)
        assert "Every element was exact" in page.inner_text("#case-check")
        assert "0.70 units of roundoff" in page.inner_text("#case-check")
        page.wait_for_selector("#case-blocks[data-drawn]")
        drawn = page.evaluate("document.getElementById('case-blocks').data.slice(0, 2).map((t) => [...t.y])")
        assert [len(values) for values in drawn] == [case["blocks"]] * 2
        assert min(drawn[0]) == pytest.approx(case["floor_s"], rel=1e-4)
        assert np.median(drawn[1]) == pytest.approx(case["typical_s"], rel=1e-3)
        page.keyboard.press("Escape")
        assert not page.is_visible("dialog#case") and "case=" not in page.url


def test_a_case_is_run_again_from_what_its_page_says(browser: Browser, ranked: pd.DataFrame, file: Path) -> None:
    plain = ranked[ranked["name"].isna()]
    for case_id in (plain["case_id"].iloc[0], plain["case_id"].iloc[-1]):
        with _ready(browser, file, view=f"case={case_id}") as (page, _):
            (again,) = sweeps.cases(parse_sweep(page.text_content("#case-yaml") or "", "case.yaml")).cases
            assert again.id == case_id
            commands = page.locator(".commands code").all_inner_texts()
            assert commands == [
                f"convbench run case-{case_id}.yaml",
                f"convbench repro {case_id}",
                f"convbench explain {case_id}",
            ]
            page.context.grant_permissions(["clipboard-read", "clipboard-write"])
            page.locator(".commands button").nth(1).click()
            page.wait_for_selector(".commands button:text('Copied')")


def test_neighbours_and_steps_between_cases(browser: Browser, table: pd.DataFrame, file: Path) -> None:
    ordered = table.iloc[by_weight(table)].reset_index(drop=True)  # as the table shows them
    ordered = ordered[ordered["status"] == "passed"].reset_index(drop=True)
    first = ordered["case_id"][0]
    with _ready(browser, file) as (page, _):
        page.locator(f"#case-table tbody a[href='#case={first}']").focus()
        page.keyboard.press("Enter")
        assert f"case={first}" in page.url
        for case_id in ordered["case_id"][1:4]:  # the keyboard goes on from one case to the next
            page.keyboard.press("ArrowRight")
            assert f"case={case_id}" in page.url
        page.locator("button", has_text="\u2190").focus()
        for case_id in ordered["case_id"][2::-1]:
            page.keyboard.press("Enter")
            assert f"case={case_id}" in page.url
        assert page.evaluate("document.activeElement.textContent") == "\u2190"
        own = ordered.iloc[0]
        place = table.index[table["case_id"] == first][0]
        for axis in _SWEPT:
            rest = [name for name in _SWEPT if name != axis]
            keys = table[rest].astype(object).fillna("-").astype(str).agg(" ".join, axis=1)
            neighbours = table[keys == keys[place]]
            links = page.locator("#case-neighbours a").evaluate_all("all => all.map((a) => a.getAttribute('href'))")
            ids = set(neighbours["case_id"]) - {first}
            assert {f"{file.name}#case={name}" for name in ids} <= set(links)
        row = page.locator("#case-neighbours tbody tr:has(a)").first
        href = row.locator("a").get_attribute("href") or ""
        other = _row(table, href.partition("#case=")[2])
        told = row.locator("td").last.inner_text()
        ratio = other["floor_s"] / own["floor_s"]
        assert f"{max(ratio, 1 / ratio):.2f}"[:3] in told or "within the spread" in told
        row.locator("a").click()
        assert page.text_content("#case-title") == other["label"]
        page.get_by_role("button", name="Close this case").click()
        assert not page.is_visible("dialog#case")


def test_the_page_of_a_case_says_why_it_is_so_fast(browser: Browser, ranked: pd.DataFrame, file: Path) -> None:
    rate = ranked["flops"] / ranked["floor_s"]
    case = ranked.loc[rate[ranked["memory_format"] == "contiguous"].idxmin()]
    with _ready(browser, file, view=f"case={case['case_id']}") as (page, _):
        words = page.locator("#case-meanings dt").all_inner_texts()
        assert words == ["Slow2d"] and "im2col" in page.inner_text("#case-meanings dd")
        roof = "200 G" if case["dtype"] == "bfloat16" else "100 G"
        assert f"its roof of compute is that of {case['dtype']}, {roof}FLOP/s" in page.inner_text("#case-ran")
        text, link = page.inner_text("#case-faster"), page.locator("#case-faster a")
        other = _row(ranked, (link.get_attribute("href") or "").partition("#case=")[2])
        ratio = rate[other.name] / rate[case.name]
        assert ratio > 1 + max(case["spread"], other["spread"])
        assert f"{ratio:.2f}x the FLOP/s of this case" in text
        assert (other["dtype"], other["direction"]) == (case["dtype"], case["direction"])
        differing = [name for name in _SWEPT if str(other[name]) != str(case[name])]
        heads = [COLUMNS[name].heading for name in differing]
        assert all(f"{head} " in text.partition("What differs: ")[2] for head in heads)
        assert text.count(" instead of ") == len(differing)
        same = ranked[(ranked["dtype"] == case["dtype"]) & (ranked["direction"] == case["direction"])]
        spreads = same["spread"].clip(lower=case["spread"]).astype(float)
        faster = same[(rate[same.index] / rate[case.name]).astype(float) > 1 + spreads]
        counts = [sum(str(row[name]) != str(case[name]) for name in _SWEPT) for _, row in faster.iterrows()]
        assert len(differing) == min(counts), "no case that differs in fewer settings is faster"
        link.click()
        assert page.text_content("#case-title") == other["label"]
    best = ranked.loc[rate[(ranked["dtype"] == "float32") & (ranked["direction"] == "forward")].idxmax()]
    with _ready(browser, file, view=f"case={best['case_id']}") as (page, _):
        assert page.inner_text("#case-faster").startswith("No case of this run") or ranked.shape[0] < 2


def test_a_case_that_failed_says_how(browser: Browser, table: pd.DataFrame, file: Path) -> None:
    failed = table[table["status"] == "failed"].iloc[0]
    with _ready(browser, file) as (page, _):
        page.locator(f"#troubles a[href='#case={failed['case_id']}']").click()
        assert page.inner_text("dialog .status") == "failed"
        assert " ".join(failed["reason"].split()) in " ".join(page.inner_text("#case-check").split())
    crashed = table[table["status"] == "crashed"].iloc[0]
    with _ready(browser, file, view=f"case={crashed['case_id']}") as (page, _):
        assert page.locator("#case-blocks").count() == 0
        assert "signal 11" in page.inner_text("dialog .reason")


def test_a_case_is_explained_on_a_page_of_its_own(browser: Browser, ranked: pd.DataFrame, file: Path) -> None:
    case = ranked[ranked["kernel_size"] == "3x3"].iloc[0]
    with _ready(browser, file, view=f"case={case['case_id']}") as (page, _):
        page.get_by_role("link", name="Show how it is computed").click()
        assert not page.is_visible("dialog#case") and not page.is_visible("#answer") and page.is_visible("#explain")
        assert page.url.endswith(f"#explain={case['case_id']}")
        assert page.evaluate("document.activeElement.id") == "explain-title"
        link = page.locator("#explain a[href^='#case=']").first
        measured = _row(ranked, (link.get_attribute("href") or "").removeprefix("#case="))
        same = ["in_channels", "kernel_size", "stride", "padding", "out_channels", "input_size"]
        assert [measured[name] for name in same] == [case[name] for name in same]
        link.click()
        assert page.text_content("#case-title") == measured["label"]
        page.keyboard.press("Escape")
        page.get_by_role("button", name="even kernel").click()
        link = page.url.partition("#")[2]
        page.get_by_role("link", name="Back to the report").click()
        assert page.is_visible("#answer") and not page.is_visible("#explain") and "explain=" not in page.url
        page.go_back()
        until(page, "document.body.classList.contains('explaining')")
    with _ready(browser, file, view=link) as (page, _):
        assert page.inner_text(".cx-constructor").startswith("Conv2d(1, 1, kernel_size=4, padding='same')")


def test_the_explainer_opens_on_a_3x3_with_padding(browser: Browser, file: Path) -> None:
    with _ready(browser, file) as (page, _):
        page.get_by_role("link", name="Convolution").click()
        assert page.inner_text(".cx-constructor") == "Conv2d(1, 1, kernel_size=3, padding=1) on 1 image of 1x5x5"
        assert page.inner_text(".cx-picture-result figcaption") == "result, 96 \u00d7 96"
        page.go_back()
        until(page, "!document.body.classList.contains('explaining')")
        all_drawn(page)  # pictures that were hidden meanwhile are drawn


# The page as a whole


def test_themes(browser: Browser, file: Path) -> None:
    with _ready(browser, file) as (page, _):
        _traces(page, "explore")
        _traces(page, "noise")
        page.emulate_media(color_scheme="dark")
        page.wait_for_selector("html.dark")
        for picture in ("explore", "noise"):  # drawn anew when it comes into view
            page.locator(f"#picture-{picture}").scroll_into_view_if_needed()
            page.wait_for_selector(f"#picture-{picture}[data-theme=dark]")
        page.select_option("#theme", "light")
        page.wait_for_selector("#picture-noise[data-theme=light]")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(253, 252, 250)"
        page.reload()
        page.wait_for_selector("html[data-ready]")
        assert page.input_value("#theme") == "light" and page.get_attribute("html", "data-theme") == "light"


def test_hostile_text_stays_text(browser: Browser, run: Run, file: Path) -> None:
    with _ready(browser, file) as (page, seen):
        page.on("dialog", lambda dialog: seen.console.append(f"dialog: {dialog.message}"))
        page.select_option(".dt-length select", "500")
        assert page.locator("header h1").inner_text() == run.name
        assert page.locator("main img, main h1 script, #case-table script, #case-table b").count() == 0
        labels = page.locator("#case-table tbody td.label").all_text_contents()
        assert sorted(labels) == sorted(result.case.label for result in run.results)
        page.fill(".dt-search input", "</script><img")
        assert all("</script><img" in label for label in _column(page, "case"))
        page.locator("#case-table tbody a").first.click()
        assert "</script><img" in (page.text_content("#case-title") or "")
        assert page.locator("dialog img, dialog script").count() == 0


def test_the_policy_refuses_what_the_page_does_not_know(browser: Browser, file: Path) -> None:
    with opened(browser, file) as seen:
        page = seen.page
        page.wait_for_selector("html[data-ready]")
        ran = page.evaluate(
            """() => {
                const script = document.createElement("script");
                script.textContent = "globalThis.planted = true";
                document.body.append(script);
                return globalThis.planted === true;
            }"""
        )
        assert not ran
        # In a callback, because the debugger that drives the browser may evaluate what the page may not.
        page.evaluate("setTimeout(() => { new Function('globalThis.evaluated = true')(); })")
        refused = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'fetched', () => 'refused')")
        assert refused == "refused"
        assert any("connect-src" in line for line in seen.console)
        assert any("unsafe-eval" in line for line in seen.console)
        assert page.evaluate("globalThis.evaluated") is None


def test_the_page_is_whole_without_scripts(browser: Browser, run: Run, file: Path) -> None:
    with opened(browser, file, width=390, scripts="off") as seen:
        page = seen.page
        assert page.locator("#case-table tbody tr").count() == CASES
        assert page.locator("#troubles tbody tr").count() == sum(r.status is not Status.PASSED for r in run.results)
        assert page.locator("ol.findings > li").count() == len(findings(run))
        page.locator("#finding-0 summary").click()
        assert page.locator("#finding-0 .labels li").count() >= 1
        assert page.locator(".plot:visible, .controls:visible, #explain:visible, .evidence:visible").count() == 0
        page.locator("#numbers-kernel_size summary").click()
        assert page.locator("#numbers-kernel_size tbody tr:visible").count() == 2
        assert seen.console == []


def test_a_print_reads_as_paper(browser: Browser, file: Path, tmp_path: Path) -> None:
    with _ready(browser, file, scheme="dark") as (page, _):
        all_drawn(page)
        page.emulate_media(media="print")
        hidden = ".controls, #theme, .dt-search, .dt-buttons, button, #case-table-box .dt-paging"
        assert page.locator(hidden).locator("visible=true").count() == 0
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        headings = page.locator("#case-table thead th:visible .dt-column-title").all_inner_texts()
        assert headings[:4] == ["case", "check", "count", "floor us"] and headings[-1] == "implementation"
        assert len(headings) < 15 and "dtype" not in headings
        page.pdf(path=tmp_path / "report.pdf")
        content = (tmp_path / "report.pdf").read_bytes()
        assert content.startswith(b"%PDF") and content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") >= 4


def test_a_reader_without_a_mouse_or_eyes(browser: Browser, file: Path) -> None:
    with _ready(browser, file) as (page, _):
        all_drawn(page)
        nameless = page.evaluate(
            """() => {
                const named = (each) => each.textContent.trim() || each.ariaLabel || each.title || each.placeholder
                    || each.labels?.length || each.getAttribute("aria-labelledby");
                const all = "button, select, input, a, [role=img], canvas:not([aria-hidden]), table, summary";
                return [...document.querySelectorAll(all)].filter((each) => each.checkVisibility() && !named(each))
                    .map((each) => each.outerHTML.slice(0, 120));
            }"""
        )
        assert nameless == []
        levels = page.locator("main h2, main h3, main h4").evaluate_all("all => all.map((h) => Number(h.tagName[1]))")
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"


def test_an_imprecise_case_says_how_and_is_drawn_nowhere(browser: Browser, tmp_path: Path) -> None:
    run = synthetic.run(24, troubles=False)
    reason = "less precision than float32: output is 0.003 of its norm away from the reference"
    coarse = replace(run.results[0], status=Status.IMPRECISE, reason=reason)
    run = replace(run, results=(coarse, *run.results[1:]))
    with _ready(browser, _write(run, tmp_path), view=f"case={coarse.case.id}") as (page, _):
        status = page.locator("dialog .status")
        assert status.inner_text() == "imprecise"
        told = " ".join(page.inner_text("#case-check").split())
        assert f"Right, with less precision than requested: {reason}" in told
        sign = "each => [getComputedStyle(each, '::before').content, getComputedStyle(each).color]"
        warn = "getComputedStyle(document.documentElement).getPropertyValue('--warn')"
        assert status.evaluate(sign) == ['"\u2248"', page.evaluate(warn)]
        page.get_by_role("button", name="Close this case").click()
        page.locator("#case-table thead th", has_text="check").locator(".dtcc-button_dropdown").click()
        page.locator(".dtcc-dropdown button", has_text="imprecise").click()
        page.wait_for_selector(".dt-info:text('of 1 case')")
        assert _column(page, "check") == ["imprecise"]


def _all_failed() -> Run:
    run = synthetic.run(24, troubles=False)
    wrong = tuple(replace(r, status=Status.FAILED, reason="output[0] is 1, should be 2") for r in run.results)
    return replace(run, results=wrong)


def _one_axis() -> Run:
    cases = [replace(case, threads=threads) for case in synthetic.cases(1) for threads in (1, 2, 3)]
    results = tuple(synthetic.with_facts(synthetic.result(case), threads=case.threads) for case in cases)
    return replace(synthetic.empty_run(), results=results)


@pytest.mark.parametrize(
    ("run", "pictures"),
    [
        pytest.param(synthetic.run(1), set(), id="one"),
        pytest.param(_one_axis(), {"ratio", "explore", "sides", "roofline", "ranking", "noise"}, id="one axis"),
        pytest.param(synthetic.empty_run(), set(), id="empty"),
        pytest.param(_all_failed(), set(), id="all failed"),
        pytest.param(
            replace(synthetic.run(30, unmeasured=30, rejections=0), state=RunState.RUNNING), set(), id="nothing reached"
        ),
    ],
)
def test_uncommon_runs(browser: Browser, run: Run, pictures: set[str], tmp_path: Path) -> None:
    file = _write(run, tmp_path)
    with _ready(browser, file, width=390) as (page, _):
        all_drawn(page)
        drawn = page.locator("[data-picture]:not([hidden])").evaluate_all("all => all.map((f) => f.dataset.picture)")
        assert set(drawn) == pictures
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert cases_shown(page) == len(run.results) + len(run.unmeasured)


def test_ten_thousand_cases(browser: Browser, tmp_path: Path) -> None:
    run = synthetic.run(10_000)
    file = _write(run, tmp_path)
    assert file.stat().st_size <= 9e6
    table = frame(run)
    with _ready(browser, file) as (page, _):
        assert cases_shown(page) == 10_000
        page.fill(".dt-search input", "bfloat16")
        page.wait_for_selector(".dt-info:has-text('filtered')")
        assert cases_shown(page) == int((table["dtype"] == "bfloat16").sum())
        all_drawn(page)
        last = table["case_id"].iloc[-1]
        page.evaluate(f"location.hash = 'case={last}'")
        page.wait_for_selector("dialog[open]")
        assert page.text_content("#case-title") == table["label"].iloc[-1]
        assert page.locator("#case-numbers > div").count() > 20
