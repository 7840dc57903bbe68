"""The report as a reader's browser shows it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import synthetic
from browser import Opened, browser, opened
from playwright.sync_api import Browser, Page

from convbench.analysis.frame import frame
from convbench.report import page as report
from convbench.report.tables import case_table
from convbench.result import Run, RunState, Status

__all__ = ["browser"]  # a fixture
pytestmark = pytest.mark.browser

CASES = 84
ALL_DRAWN = "body:not(:has([data-plot]:not([data-drawn])))"


@pytest.fixture(scope="module")
def run() -> Run:
    return synthetic.run(CASES)


@pytest.fixture(scope="module")
def file(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(run, tmp_path_factory.mktemp("report"))


def _write(run: Run, folder: Path) -> Path:
    path = folder / report.file_name(run)
    path.write_text(report.render(run), encoding="utf-8")
    return path


def _ready(seen: Opened) -> Page:
    seen.page.wait_for_selector("html[data-ready]")
    return seen.page


def _draw_all(page: Page) -> None:
    for plot in page.query_selector_all("[data-plot]"):
        plot.scroll_into_view_if_needed()
    page.wait_for_selector(ALL_DRAWN)


def _innocent(seen: Opened, file: Path) -> None:
    assert seen.console == []
    assert [
        url for url in seen.requests if url.partition("#")[0] != file.as_uri() and not url.startswith("blob:")
    ] == []


def _column(page: Page, heading: str) -> list[str]:
    """The texts of a column of the visible page of the table."""
    headings = [text.split("\n")[0].strip() for text in page.locator("#case-table thead th").all_inner_texts()]
    position = next(i for i, text in enumerate(headings) if text.startswith(heading)) + 1
    return page.locator(f"#case-table tbody td:nth-child({position})").all_inner_texts()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_figures_are_drawn_and_nothing_is_fetched(browser: Browser, file: Path, scheme: str, width: int) -> None:
    with opened(browser, file, width=width, scheme=scheme) as seen:
        page = _ready(seen)
        page.wait_for_selector(ALL_DRAWN)  # those out of view too, when the browser is idle
        plots = page.locator("[data-plot]")
        assert plots.count() > 10
        assert page.locator("[data-plot] svg .scatterlayer path.point").count() > CASES
        assert page.locator(f"[data-plot]:not([data-drawn={scheme}])").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, paper[4:-1].split(","))) < 150) == (scheme == "dark")
        _innocent(seen, file)


def test_the_table_shows_the_numbers_of_the_frame(browser: Browser, run: Run, file: Path) -> None:
    with opened(browser, file) as seen:
        page = _ready(seen)
        page.select_option(".dt-length select", "500")
        table = frame(run)
        expected = case_table(table)
        shown = page.locator("#case-table tbody tr").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
        )
        assert shown == [[text for _, text in row] for row in expected.rows(CASES)]
        embedded = json.loads(page.locator("#data").text_content() or "")["values"]
        for name in ("floor_s", "typical_s", "spread", "tflops"):
            values = pd.Series(embedded[name], dtype=float)
            pd.testing.assert_series_equal(values, table[name], rtol=1e-5, check_names=False)


def test_sorting(browser: Browser, run: Run, file: Path) -> None:
    with opened(browser, file) as seen:
        page = _ready(seen)
        page.select_option(".dt-length select", "500")
        floors = frame(run)["floor_s"]
        for direction in ("ascending", "descending"):
            page.locator("#case-table thead th", has_text="floor").locator(".dt-column-title").click()
            page.wait_for_selector(f"#case-table th[aria-sort={direction}]")
            texts = _column(page, "floor")
            numbers = [float(text.replace(",", "")) for text in texts if text]
            assert numbers == sorted(numbers, reverse=direction == "descending")
            assert len(numbers) == floors.notna().sum() > 0
            assert not any(texts[len(numbers) :])  # what was not measured stands last, whichever way
        _innocent(seen, file)


def test_searching_and_filtering_a_column(browser: Browser, run: Run, file: Path) -> None:
    table = frame(run)
    with opened(browser, file) as seen:
        page = _ready(seen)
        page.fill(".dt-search input", "bfloat16")
        assert set(_column(page, "dtype")) == {"bfloat16"}
        number = int((table["dtype"] == "bfloat16").sum())
        assert f"of {number} cases" in page.locator(".dt-info").inner_text()
        page.fill(".dt-search input", "")
        page.locator("#case-table thead th", has_text="check").locator(".dtcc-button_dropdown").click()
        page.locator(".dtcc-dropdown button", has_text="failed").click()
        page.wait_for_selector(f".dt-info:text('of {(table['status'] == Status.FAILED).sum()} cases')")
        assert set(_column(page, "check")) == {"failed"}
        assert page.locator("#case-table th[aria-sort]").count() == 0  # filtering does not sort
        assert len(_column(page, "check")) == int((table["status"] == Status.FAILED).sum())
        _innocent(seen, file)


def test_pointing_at_a_case_tells_which_it_is(browser: Browser, tmp_path: Path) -> None:
    hostile = replace(synthetic.cases(1)[0], given_label="<b onclick=x>bold</b> %{x} &lt;")
    run = replace(synthetic.empty_run(), results=(synthetic.result(hostile),))
    with opened(browser, _write(run, tmp_path)) as seen:
        page = _ready(seen)
        _draw_all(page)
        point = page.locator("[data-plot=ranking] path.point").bounding_box()
        assert point is not None
        page.mouse.move(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
        told = page.locator("[data-plot=ranking] .hoverlayer .hovertext").text_content() or ""
        assert "<b onclick=x>bold</b> %{x} &lt;" in told.replace("\xa0", " ") and "floor" in told
        assert seen.console == []


def test_hostile_text_stays_text(browser: Browser, run: Run, file: Path) -> None:
    with opened(browser, file) as seen:
        page = _ready(seen)
        page.on("dialog", lambda dialog: seen.console.append(f"dialog: {dialog.message}"))
        page.select_option(".dt-length select", "500")
        assert page.locator("h1").inner_text() == run.name
        assert page.locator("main img, main h1 script, #case-table script, #case-table b").count() == 0
        labels = page.locator("#case-table tbody td.label").all_text_contents()
        assert sorted(labels) == sorted(result.case.label for result in run.results)
        page.fill(".dt-search input", "</script><img")
        assert all("</script><img" in label for label in _column(page, "case"))
        assert _column(page, "case")
        _innocent(seen, file)


def test_the_policy_refuses_what_the_page_does_not_know(browser: Browser, file: Path) -> None:
    with opened(browser, file) as seen:
        page = _ready(seen)
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
        assert page.locator(".findings li").count() > 3
        assert page.locator(".plot:visible").count() == 0
        assert page.locator("#figure-kernel_size summary").is_visible()


def test_the_theme_may_change_while_the_page_is_open(browser: Browser, file: Path) -> None:
    with opened(browser, file) as seen:
        page = _ready(seen)
        page.locator("[data-plot=ranking]").scroll_into_view_if_needed()
        page.wait_for_selector("[data-plot=ranking][data-drawn=light]")
        page.emulate_media(color_scheme="dark")
        page.wait_for_selector("[data-plot=ranking][data-drawn=dark]")
        page.wait_for_selector("html.dark")
        assert seen.console == []


def _all_failed() -> Run:
    run = synthetic.run(24, troubles=False)
    wrong = tuple(replace(r, status=Status.FAILED, reason="output[0] is 1, should be 2") for r in run.results)
    return replace(run, results=wrong)


@pytest.mark.parametrize(
    ("run", "figures"),
    [
        pytest.param(synthetic.run(1), 1, id="one"),
        pytest.param(synthetic.empty_run(), 0, id="empty"),
        pytest.param(_all_failed(), 0, id="all failed"),
        pytest.param(
            replace(synthetic.run(30, unmeasured=30, rejections=0), state=RunState.RUNNING), 0, id="nothing reached"
        ),
    ],
)
def test_uncommon_runs(browser: Browser, run: Run, figures: int, tmp_path: Path) -> None:
    file = _write(run, tmp_path)
    with opened(browser, file, width=390) as seen:
        page = _ready(seen)
        _draw_all(page)
        assert page.locator("[data-plot]").count() >= figures
        assert (page.locator("[data-plot]").count() == 0) == (figures == 0)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        _innocent(seen, file)
