"""Pages by axe-core and by the keyboard: no violation in either theme, and a short way to the table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import campaigns
import pytest
import synthetic
import two_runs
from accessibility import violations
from browser import all_drawn, ready
from nights import nights
from playwright.sync_api import Browser, Page

from convbench.analysis.history.history import history
from convbench.analysis.history.history import trends as trends_of
from convbench.model.result import Git, ProcessFacts, Roof, RoofKind, Run, RunState, RunSummary
from convbench.model.threshold import Thresholds
from convbench.report.pages import comparison, explain, index, index_cache, index_campaigns, trends
from convbench.report.pages import run as report

pytestmark = pytest.mark.browser

#: Most presses of Tab from the beginning of a page to the pages of its table, with the link that skips to the table.
MOST_STOPS = 20


def _run() -> Run:
    """Troubles, hostile labels, roofs of two dtypes."""
    made = synthetic.run(60, unmeasured=2)
    common = {"device": "cpu", "threads": 1, "source": "made up"}
    roofs = (
        Roof(kind=RoofKind.COMPUTE, rate=100e9, dtype="float32", **common),
        Roof(kind=RoofKind.COMPUTE, rate=200e9, dtype="bfloat16", **common),
        Roof(kind=RoofKind.BANDWIDTH, rate=20e9, footprint_bytes=2**27, **common),
    )
    return replace(made, processes=(ProcessFacts(process_index=0, seconds=90.0, roofs=roofs),))


def _index() -> str:
    (trend,) = trends_of(history(nights([1e-3] * 4 + [1.3e-3] * 3, upgrade=5, many=4), Thresholds()))
    about = {"host": "laptop", "cpu": "AMD EPYC", "torch": "2.13.0", "cases": 4, "statuses": {}}
    runs = [
        RunSummary(
            id=dot.run_id,
            name="nightly" if place % 2 else "weekly",
            state=RunState.FINISHED,
            started_at=dot.started_at,
            finished_at=dot.started_at,
            git=Git(commit="abc", branch="main"),
            **about,
        )
        for place, dot in enumerate(trends.line(trend).dots)
    ]
    glance = index_cache.Glance(description="what it is for", noise=0.1, findings=("one thing", "another"))
    entries = [
        index.RunEntry(
            run=run,
            glance=glance,
            report="x.html" if place else None,
            judged=index_cache.Judged(base_id="a", base_name="main", finished_at="", verdict=verdict, detail="x"),
        )
        for place, (run, verdict) in enumerate(zip(runs, index_cache.VERDICTS * 2, strict=False))
    ]
    sweep = trends.SweepTrend(of=(), lines=(trends.line(trend),))
    shown = index_campaigns.rows(
        [campaigns.conducted([run for run, _ in campaigns.runs(1)])], ["nightly"], ["campaign-nightly.html"]
    )
    return index.render(entries, older=3, version="1", sweeps={"nightly": sweep}, campaigns=shown)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All kinds of pages."""
    folder = tmp_path_factory.mktemp("pages")
    pages = {
        "report": report.render(_run()),
        "comparison": comparison.render(two_runs.stored(40)),
        "explain": explain.render(synthetic.layer(padding=(1, 1))),
        "index": _index(),
    }
    for name, html in pages.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return folder


@contextmanager
def _shown(browser: Browser, folder: Path, name: str, **settings: object) -> Iterator[Page]:
    """A page with all its pictures drawn."""
    with ready(browser, folder / f"{name}.html", **settings) as page:
        all_drawn(page)
        yield page


def _open_a_case(page: Page) -> None:
    page.locator("#case-table tbody tr:has-text('passed') a, #case-table tbody a").nth(2).click()
    page.wait_for_selector("#case-blocks[data-drawn]")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
@pytest.mark.parametrize("name", ["report", "comparison", "explain", "index"])
def test_axe_finds_nothing(browser: Browser, folder: Path, name: str, scheme: str, width: int) -> None:
    with _shown(browser, folder, name, scheme=scheme, width=width) as page:  # colours do not depend on the width
        assert violations(page) == []
        if page.locator("#case-table").count():
            _open_a_case(page)
            assert violations(page) == []


def test_axe_would_find_something(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "bad.html"
    file.write_text(
        "<title>x</title><html data-ready lang=en><main><h1>x</h1><img src=data:,><p>y</main>", encoding="utf-8"
    )
    with ready(browser, file) as page:
        assert [found.partition(":")[0] for found in violations(page)] == ["image-alt"]


@pytest.mark.parametrize("name", ["report", "comparison"])
def test_few_tab_stops_lead_to_the_pages_of_the_table(browser: Browser, folder: Path, name: str) -> None:
    with _shown(browser, folder, name) as page:
        is_page = "document.activeElement.closest('.dt-paging') !== null && document.activeElement.textContent === '2'"
        for _ in range(MOST_STOPS):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.getAttribute('href') === '#cases'") and "Skip" in page.evaluate(
                "document.activeElement.textContent"
            ):
                page.keyboard.press("Enter")
            if page.evaluate(is_page):
                break
        assert page.evaluate(is_page)
        page.keyboard.press("Enter")
        assert "26 to " in page.inner_text(".dt-info")


def test_a_phone_shows_three_columns_and_a_laptop_all_of_them(browser: Browser, folder: Path) -> None:
    fits = "[document.querySelector('.dt-layout-table')].every((box) => box.scrollWidth <= box.clientWidth)"
    heads = "[...document.querySelectorAll('#case-table thead .dt-column-title')].map((each) => each.textContent)"
    for name, three in (("report", ["case", "check", "floor us"]), ("comparison", ["case", "verdict", "change %"])):
        with ready(browser, folder / f"{name}.html", width=390) as page:
            assert page.evaluate(heads) == three and page.evaluate(fits)
        with ready(browser, folder / f"{name}.html") as page:
            assert len(page.evaluate(heads)) > 8 and page.evaluate(fits)


def test_an_arrow_is_never_broken(browser: Browser, folder: Path) -> None:
    """In a narrow window no arrow `->` of the page spans two lines, with scripts and without."""
    broken = """() => {
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        const found = [];
        let all = 0;
        while (walker.nextNode()) {
            const { data, parentElement } = walker.currentNode;
            if (!parentElement.checkVisibility() || parentElement.closest("script, svg, pre, title")) continue;
            for (let at = data.indexOf("->"); at >= 0; at = data.indexOf("->", at + 1)) {
                const range = document.createRange();
                range.setStart(walker.currentNode, at);
                range.setEnd(walker.currentNode, at + 2);
                all += 1;
                if (new Set([...range.getClientRects()].map(({ top }) => top)).size > 1) found.push(data);
            }
        }
        return [all, found];
    }"""
    for name in ("report", "comparison"):
        with _shown(browser, folder, name, width=390) as page:
            for with_case in (False, True):
                if with_case:
                    _open_a_case(page)
                for width in (390, 370, 350, 330):
                    page.set_viewport_size({"width": width, "height": 900})
                    all_, found = page.evaluate(broken)
                    assert all_ > 5 and found == []
