"""The section on a network in a browser: its links, and its width on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import cases_shown, ready
from networks import network
from playwright.sync_api import Browser

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
