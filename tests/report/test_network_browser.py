"""The section on a network in a browser: its links, and its width on a phone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
from browser import cases_shown, ready, until
from networks import network
from playwright.sync_api import Browser

from convbench import sweep as sweeps
from convbench.analysis.findings.findings import examined
from convbench.report.pages.run import render

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "report.html"
    path.write_text(render(network()), encoding="utf-8")
    return path


def test_a_layer_worth_fixing_opens_its_case(browser: Browser, file: Path) -> None:
    with ready(browser, file) as page:
        link = page.locator("#network th a").first
        name = link.inner_text()
        link.click()
        page.wait_for_selector("dialog#case[open]")
        assert page.locator("#case-title").inner_text().startswith(f"{name}: ")


def test_the_first_finding_shows_its_cases_in_the_table(browser: Browser, file: Path) -> None:
    with ready(browser, file) as page:
        page.locator("#finding-0 > .evidence a").click()
        page.wait_for_selector("#chosen:not([hidden])")
        assert cases_shown(page) == 4, "two layers in two directions, with the usual settings"


def test_tables_scroll_within_a_phone(browser: Browser, file: Path) -> None:
    with ready(browser, file, width=390) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.locator("#network .scroll").count() == 5


def test_no_picture_adds_up_two_batch_sizes(browser: Browser, tmp_path: Path) -> None:
    text = """
axes: {in_channels: 8, kernel_size: 3, input_size: 14, batch_size: [1, 8], padding: [0, half]}
cases:
  - {label: stem, out_channels: 16, kernel_size: 1}
  - {label: head, out_channels: 32, kernel_size: 1, count: 3}
"""
    cases = sweeps.cases(sweeps.parse.parse(text, "sweep.yaml")).cases
    run = replace(synthetic.empty_run(), results=tuple(map(synthetic.result, cases)), source=text)
    table = examined(run).table
    sums = table.assign(all=table["floor_s"] * table["count"]).groupby("batch_size")["all"].sum()
    path = tmp_path / "report.html"
    path.write_text(render(run), encoding="utf-8")
    with ready(browser, path) as page:
        page.locator("#picture-network").evaluate("(figure) => figure.scrollIntoView()")
        page.wait_for_selector("#picture-network[data-drawn]")
        plot = page.locator("#picture-network .plot")
        bars = plot.evaluate("(plot) => plot.data.filter(({type}) => type === 'bar').map(({x}) => x)")
        assert [sum(each) for each in bars] == pytest.approx(sorted(sums), rel=1e-5), "one network a batch size"
        assert plot.evaluate("(plot) => plot.layout.yaxis.ticktext") == ["head", "stem"]
        options = page.locator("select[name='network.way'] option").all_text_contents()
        assert options == ["all, side by side", "batch_size=1", "batch_size=8"], "0 and half are one padding here"
        page.select_option("select[name='network.way']", "batch_size=8")
        until(page, "document.querySelector('#picture-network .summary').textContent.includes('(batch_size=8)')")
        whole = plot.evaluate("(plot) => plot.data.filter(({type}) => type === 'bar').flatMap(({x}) => x)")
        assert sum(whole) == pytest.approx(sums[8], rel=1e-5)
