"""The page of a campaign as a reader's browser shows it: pictures, the table, a case on every machine, axe-core."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import campaigns
import numpy as np
import pytest
from accessibility import violations
from browser import all_drawn, cases_shown, opened, ready, until
from playwright.sync_api import Browser, Page

from convbench.analysis.campaign.findings import CampaignKind, campaign_findings
from convbench.analysis.campaign.view import CampaignView, view
from convbench.report.pages.campaign import render
from convbench.report.text.campaign import by_weight

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def three() -> CampaignView:
    prices = {"epyc-1": 0.5, "xeon-1": 3.0, "arm-1": 1.0}
    return view(campaigns.runs(48), name="three machines", id="c20261124-033000-k7q2", prices=prices)


@pytest.fixture(scope="module")
def file(three: CampaignView, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reports") / "campaign.html"
    path.write_text(render(three), encoding="utf-8")
    return path


def drawn(page: Page, name: str) -> list[dict[str, Any]]:
    """The traces of a picture with dots, once it is drawn."""
    page.locator(f"#picture-{name}").scroll_into_view_if_needed()
    until(page, f"document.querySelector('#picture-{name}').dataset.drawn")
    traces = page.evaluate(
        f"document.querySelector('#picture-{name} .plot').data.map((trace) => JSON.parse(JSON.stringify(trace)))"
    )
    return [trace for trace in traces if trace["mode"] == "markers" and trace["x"] != [None]]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_axe_finds_nothing(browser: Browser, file: Path, scheme: str, width: int) -> None:
    with ready(browser, file, width=width, scheme=scheme) as page:  # colours do not depend on the width
        all_drawn(page)
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.locator("#case-table tbody a").nth(2).click()
        page.wait_for_selector("dialog[open] .case-machines")
        assert violations(page) == []


def test_the_ratio_picture_has_a_dot_for_each_layer_and_machine(
    browser: Browser, file: Path, three: CampaignView
) -> None:
    one = three.across[0]
    with ready(browser, file) as page:
        traces = drawn(page, "across")
        assert len(traces) == 3
        for at, trace in enumerate(traces):
            assert sorted(trace["y"]) == pytest.approx(sorted(1 / one.ratio[:, at]), rel=1e-5)
            hollow = sum(symbol.endswith("-open") for symbol in trace["marker"]["symbol"])
            assert hollow == int((one.verdict[:, at] == 0).sum())
        assert traces[0]["y"] == sorted(traces[0]["y"], reverse=True), "ordered by the first machine"
        summary = page.inner_text("#picture-across .summary")
        assert f"The ordering turns round in {len(one.turned)}." in summary
        page.select_option("select[name='across.order']", three.names[2])
        until(page, "document.querySelector('#picture-across .xtitle').textContent.includes('Neoverse')")
        assert drawn(page, "across")[2]["y"] == sorted(drawn(page, "across")[2]["y"], reverse=True)


def test_the_other_pictures_have_every_machine(browser: Browser, file: Path, three: CampaignView) -> None:
    with ready(browser, file) as page:
        behind = drawn(page, "behind")
        for at, trace in enumerate(behind):
            assert sorted(trace["y"]) == pytest.approx(sorted(np.maximum(1, three.ranking.ratio[:, at])), rel=1e-5)
        rooflines = drawn(page, "rooflines")
        own = [case.dtype == "float32" for case in three.cases]
        for at, trace in enumerate(rooflines):
            rates = [case.flops for case in three.cases] / three.time_s[:, at]
            assert sorted(trace["y"]) == pytest.approx(sorted(rates[own]), rel=1e-5)
        plot = "document.querySelector('#picture-rooflines .plot').data"
        lines = page.evaluate(f"{plot}.filter(({{mode}}) => mode === 'lines').map(({{y}}) => y.at(-1))")
        assert lines == pytest.approx([rates[0] for rates in campaigns.RATES.values()])
        page.select_option("select[name='rooflines.dtype']", "bfloat16")
        until(page, "document.querySelector('#picture-rooflines .summary').textContent.startsWith('bfloat16')")


def test_a_case_opens_with_every_machine_the_fastest_first(browser: Browser, file: Path, three: CampaignView) -> None:
    row = by_weight(three)[0]
    with ready(browser, file) as page:
        page.locator("#case-table tbody a").first.click()
        names = page.locator(".case-machines tbody th").all_inner_texts()
        assert names == [three.names[at] for at in np.argsort(three.time_s[row])]
        assert page.locator(".case-machines tr.best td").nth(1).inner_text() == "the best"
        assert page.inner_text("#case-title") == three.cases[row].label


def test_a_finding_shows_its_cases_and_a_turn_its_pairs(browser: Browser, file: Path, three: CampaignView) -> None:
    found = campaign_findings(three)
    best = next(at for at, one in enumerate(found) if one.kind is CampaignKind.BEST)
    turn = [at for at, one in enumerate(found) if one.kind is CampaignKind.TURN][-1]
    with ready(browser, file) as page:
        page.locator(f"#finding-{best} a").click()
        assert cases_shown(page) == len(found[best].rows)
        page.locator(f"#finding-{turn} a").click()
        until(page, "document.querySelector('#picture-across .summary').textContent.startsWith('channels_last over')")
    with ready(browser, file, view=f"only=finding:{best}") as page:
        assert cases_shown(page) == len(found[best].rows)


def test_without_scripts_the_page_is_complete(browser: Browser, file: Path, three: CampaignView) -> None:
    with opened(browser, file, scripts="off") as seen:
        text = seen.page.inner_text("main")
        assert seen.page.locator("#case-table tbody tr").count() == len(three.cases)
        for name in three.names:
            assert name in text
        assert not seen.page.locator(".evidence").first.is_visible()
        assert not seen.page.locator("#picture-across").is_visible()


def test_a_phone_shows_the_best_machine_of_each_case(browser: Browser, file: Path) -> None:
    heads = "[...document.querySelectorAll('#case-table thead .dt-column-title')].map((each) => each.textContent)"
    with ready(browser, file, width=390) as page:
        assert page.evaluate(heads) == ["case", "best", "next takes x"]
    with ready(browser, file) as page:
        assert len(page.evaluate(heads)) == 6
