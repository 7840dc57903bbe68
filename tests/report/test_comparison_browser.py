"""The page of a comparison as a reader's browser shows it."""

from __future__ import annotations

import csv
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import two_runs
from browser import cases_shown, opened, ready, until
from browser_scripts import call
from playwright.sync_api import Browser, Page
from uncommon import UNCOMMON

from convbench import units
from convbench.analysis.comparison.judgment import Judgment, RunComparison, Verdict
from convbench.measure import alike, estimate
from convbench.model.result import Result
from convbench.report.pages import comparison as comparison_page
from convbench.report.pages import run as page
from convbench.report.pages.comparison_table import ordered, table
from convbench.report.text.compare import verdict_text

pytestmark = pytest.mark.browser

CASES = 62


@pytest.fixture(scope="module")
def compared() -> RunComparison:
    return two_runs.stored(CASES)


@pytest.fixture(scope="module")
def file(compared: RunComparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, with the new run's report beside it."""
    return _write(compared, tmp_path_factory.mktemp("reports"), page.file_name(compared.new))


def _write(compared: RunComparison, folder: Path, *beside: str) -> Path:
    path = folder / comparison_page.file_name(compared.comparison)
    path.write_text(comparison_page.render(compared, beside), encoding="utf-8")
    return path


def _drawn(page: Page) -> list[dict[str, Any]]:
    """The traces of the picture of all ratios, once it is drawn as wanted."""
    page.locator("#picture-ratios").scroll_into_view_if_needed()
    until(page, "document.querySelector('#picture-ratios').dataset.drawn")
    found: list[dict[str, Any]] = page.evaluate(
        "document.querySelector('#picture-ratios .plot').data.map((trace) => JSON.parse(JSON.stringify(trace)))"
    )
    return found


def _redrawn(page: Page, act: Any) -> list[dict[str, Any]]:
    """The traces after something that has the picture drawn anew."""
    before = page.get_attribute("#picture-ratios", "data-drawn")
    act()
    page.locator("#picture-ratios").scroll_into_view_if_needed()  # out of view it waits
    until(page, "(before) => document.querySelector('#picture-ratios').dataset.drawn !== before", before)
    return _drawn(page)


def _marks(traces: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The marks by verdict."""
    return {trace["name"]: trace for trace in traces if trace.get("mode") == "markers"}


def _with(compared: RunComparison, verdict: Verdict) -> list[Judgment]:
    return [judgment for judgment in ordered(compared.comparison) if judgment.verdict is verdict]


def _cells(page: Page) -> list[list[str]]:
    """The visible page of the table."""
    found: list[list[str]] = page.locator("#case-table tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return found


def _open(page: Page, judgment: Judgment) -> None:
    page.evaluate(f"location.hash = 'case={judgment.case.id}'")
    until(page, f"document.querySelector('dialog[open]') && location.hash.includes('{judgment.case.id}')")


# The picture


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_every_ratio_and_its_interval_are_drawn(
    browser: Browser, compared: RunComparison, file: Path, scheme: str, width: int
) -> None:
    with ready(browser, file, width=width, scheme=scheme) as shown:
        traces = _drawn(shown)
        marks = _marks(traces)
        told = [judgment for judgment in compared.comparison.judgments if not math.isnan(judgment.ratio)]
        assert sum(len(trace["y"]) for trace in marks.values()) == len(told)
        for verdict in {judgment.verdict for judgment in told}:
            some = [judgment for judgment in _with(compared, verdict) if not math.isnan(judgment.ratio)]
            assert sorted(marks[verdict.value]["y"]) == pytest.approx(sorted(j.ratio for j in some), rel=1e-12)
            [lines] = (
                t
                for t in traces
                if t.get("mode") == "lines"
                and len(t["y"]) == 3 * len(some)
                and sorted(t["y"][0::3]) == pytest.approx(sorted(j.low for j in some), rel=1e-12)
            )
            assert sorted(lines["y"][1::3]) == pytest.approx(sorted(j.high for j in some), rel=1e-12)
        assert len({trace["marker"]["symbol"] for trace in marks.values()}) == len(marks) >= 4
        places = sorted((x, y) for trace in marks.values() for x, y in zip(trace["x"], trace["y"], strict=True))
        assert [x for x, _ in places] == list(range(1, len(told) + 1))
        assert [y for _, y in places] == sorted(y for _, y in places)
        bands = shown.evaluate(
            "document.querySelector('#picture-ratios .plot').layout.shapes"
            ".flatMap(({ type, y1 }) => type === 'rect' ? [y1] : [])"
        )
        assert sorted(bands) == pytest.approx(sorted({1 + j.threshold for j in told}))
        assert f"{len(told)} cases: " in shown.inner_text("#picture-ratios .summary")
        assert shown.get_attribute("#picture-ratios", "data-theme") == scheme
        assert shown.evaluate("document.documentElement.scrollWidth") <= width


def test_the_thresholds_lie_around_what_all_cases_moved_by_together(browser: Browser, tmp_path: Path) -> None:
    found = two_runs.moved_together(1.03)
    assert found.comparison.shift == pytest.approx(1.03, rel=0.005)
    with ready(browser, _write(found, tmp_path)) as shown:
        _drawn(shown)
        shapes = shown.evaluate("document.querySelector('#picture-ratios .plot').layout.shapes")
        bands = sorted((shape["y0"], shape["y1"]) for shape in shapes if shape["type"] == "rect")
        shift, thresholds = found.comparison.shift, {j.threshold for j in found.comparison.judgments}
        assert bands == [pytest.approx((shift / (1 + t), shift * (1 + t))) for t in sorted(thresholds, reverse=True)]
        assert [shape["y0"] for shape in shapes if shape["type"] == "line"] == [1]
        together = units.change(shift)
        assert f"around the common shift of {together}" in shown.inner_text("#picture-ratios .summary")
        assert f"half of all cases moved together by {together}" in shown.inner_text("main")


def test_the_verdict_can_be_sent_and_a_mark_opens_its_case(
    browser: Browser, compared: RunComparison, file: Path
) -> None:
    [worst, *_] = _with(compared, Verdict.REGRESSED)
    with ready(browser, file) as shown:
        assert shown.inner_text("h1") == comparison_page.headline(compared.comparison)
        assert shown.text_content("#line pre") == verdict_text(compared.comparison)
        shown.locator("#line button").click()
        until(shown, "document.querySelector('#line button').textContent !== 'Copy'")
        shown.locator(".lede a").click()
        assert shown.text_content("#case-title") == worst.case.label
        shown.keyboard.press("Escape")
        _drawn(shown)
        plot = shown.locator("#picture-ratios .plot")
        plot.focus()
        for _ in range(CASES):
            shown.keyboard.press("ArrowLeft")  # from the last mark: the slowest are drawn last
            said = shown.inner_text("#picture-ratios .said")
            if " ".join(worst.case.label.split()) in said.replace(",", ""):
                break
        assert units.change(worst.ratio) in said and units.change(worst.high) in said
        assert f"{units.seconds(worst.base_s)} -> {units.seconds(worst.new_s)}" in said
        assert "regressed" in said and "implementation" in said
        shown.keyboard.press("Enter")
        assert shown.text_content("#case-title") == worst.case.label
        shown.keyboard.press("Escape")
        until(shown, "!document.querySelector('dialog#case').open && !location.hash.includes('case=')")
        point = shown.locator("#picture-ratios path.point").first.bounding_box()
        assert point is not None
        shown.mouse.move(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
        assert shown.locator("#picture-ratios .hoverlayer .hovertext").count() == 1
        shown.mouse.click(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
        assert shown.is_visible("dialog#case") and "case=" in shown.url


def test_the_picture_is_ordered_and_reaches_as_the_reader_wants(
    browser: Browser, compared: RunComparison, file: Path
) -> None:
    with ready(browser, file) as shown:
        _drawn(shown)
        over = shown.locator("select[name='ratios.over']")
        marks = _marks(_redrawn(shown, lambda: over.select_option("base")))
        slower = _with(compared, Verdict.REGRESSED)
        assert sorted(marks["regressed"]["x"]) == pytest.approx(sorted(j.base_s for j in slower), rel=1e-12)
        reach = shown.locator("select[name='ratios.reach']")
        _redrawn(shown, lambda: reach.select_option("near"))
        axis = shown.evaluate("document.querySelector('#picture-ratios .plot').layout.yaxis.range")
        limit = 1 + 3 * max(j.threshold for j in compared.comparison.judgments if not math.isnan(j.threshold))
        assert 10 ** axis[1] < limit * 1.1
        assert "are outside the picture" in shown.inner_text("#picture-ratios .summary")
        assert "ratios.over=base" in shown.url and "ratios.reach=near" in shown.url
        shown.check("#only-shown")
        marks = _marks(_redrawn(shown, lambda: shown.locator("[data-only='verdict:improved']").click()))
        assert set(marks) == {"improved"}
        assert len(marks["improved"]["x"]) == len(_with(compared, Verdict.IMPROVED))


# The table


def test_the_table_has_the_numbers_of_the_comparison(
    browser: Browser, compared: RunComparison, file: Path, tmp_path: Path
) -> None:
    with ready(browser, file) as shown:
        shown.select_option(".dt-length select", "100")
        assert _cells(shown) == [[text for _, text in row] for row in table(compared).rows(CASES)]
        [first, *_] = _with(compared, Verdict.REGRESSED)
        [row] = [row for row in _cells(shown) if row[0] == first.case.label]
        assert row[1:4] == [
            "regressed",
            units.change(first.ratio).removesuffix(" %"),
            units.change(first.low).removesuffix(" %"),
        ]
        with shown.expect_download() as download:
            shown.get_by_role("button", name="CSV").click()
        download.value.save_as(tmp_path / "table.csv")
        assert download.value.suggested_filename == f"{file.stem}.csv"
    lines = list(csv.reader((tmp_path / "table.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert len(lines) >= CASES + 1 and "regressed" in {word for line in lines for word in line}


def test_sorting_searching_filtering_and_links_to_some(browser: Browser, compared: RunComparison, file: Path) -> None:
    with ready(browser, file) as shown:
        shown.emulate_media(reduced_motion="reduce")  # clicks need not wait for the page to have scrolled
        shown.select_option(".dt-length select", "100")
        shown.locator("#case-table thead th", has_text="change").locator(".dt-column-title").click()
        shown.wait_for_selector("#case-table th[aria-sort=ascending]")
        changes = [float(row[2]) for row in _cells(shown) if row[2]]
        assert changes == sorted(changes) and len(changes) == sum(
            not math.isnan(j.ratio) for j in compared.comparison.judgments
        )
        for verdict in Verdict:
            some = _with(compared, verdict)
            link = shown.locator(f"#answer [data-only='verdict:{verdict.value}']")
            assert link.count() == (1 if some else 0)
            if some:
                link.click()
                assert {row[1] for row in _cells(shown)} == {verdict.value}
                assert cases_shown(shown) == len(some)
        for at, group in enumerate(compared.comparison.groups):
            shown.locator(f"#group-{at} a").click()
            labels = sorted(compared.comparison.judgments[place].case.label for place in group.changed)
            assert sorted(row[0] for row in _cells(shown)) == labels
            assert group.name in shown.inner_text("#chosen")
        assert "only=group" in shown.url
        shown.get_by_role("button", name="Show all cases").click()
        shown.fill(".dt-search input", "channels_last")
        some = [j for j in compared.comparison.judgments if "channels_last" in j.case.label]
        assert cases_shown(shown) == len(some) and not shown.is_visible("#chosen")
    with ready(browser, file, view="only=group:0&case=nonsense") as shown:  # what a colleague is sent
        assert cases_shown(shown) == len(compared.comparison.groups[0].changed) and not shown.is_visible("dialog#case")


# The case


def _floors(base: Result, new: Result) -> list[list[float]]:
    """The process floors that are compared, of both sides."""
    found = alike.process_times(*(estimate.table([result]) for result in (base, new)))
    return [[value for value in side[0].tolist() if not math.isnan(value)] for side in (found.base, found.new)]


def test_the_page_of_a_case_has_both_sides(browser: Browser, compared: RunComparison, file: Path) -> None:
    [worst, *_] = _with(compared, Verdict.REGRESSED)
    base, new = (
        next(result for result in run.results if result.case == worst.case) for run in (compared.base, compared.new)
    )
    with ready(browser, file, view=f"case={worst.case.id}") as shown:
        shown.wait_for_selector("#case-blocks[data-drawn]")
        assert shown.inner_text("dialog .status").strip() == "regressed"
        told = shown.inner_text("#case-change")
        assert told.startswith(f"{units.change(worst.ratio)} ({units.change(worst.low)} to {units.change(worst.high)})")
        assert f"{units.seconds(worst.base_s)} -> {units.seconds(worst.new_s)}" in told
        assert "-> ref:any" in shown.inner_text("#case-why")
        traces = shown.evaluate("document.querySelector('#case-blocks').data.map((t) => JSON.parse(JSON.stringify(t)))")
        lines = [t for t in traces if t["mode"] == "lines" and t["line"]["width"] == 2.5]
        expected = _floors(base, new)
        for line, floors in zip(lines, expected, strict=True):
            assert line["y"][0::3] == pytest.approx(floors, rel=1e-4) and len(floors) == 5
        assert [min(floors) for floors in expected] == [worst.base_s, worst.new_s]
        marks = [t for t in traces if t["mode"] == "markers" and t["x"]]
        assert [len(t["x"]) for t in marks] == [25, 25]
        cells = shown.locator("#case-sides tr[data-name=implementation] td").all_inner_texts()
        assert cells == [base.facts.implementation, new.facts.implementation]
        assert shown.locator("#case-sides tr[data-name=status]").count() == 0
        assert shown.locator("#case-same tr[data-name=status]").count() == 1 and not shown.is_visible("#case-same")
        shown.get_by_text("The same on both sides").last.click()
        assert shown.locator("#case-same tr[data-name=status] td").all_inner_texts() == ["passed", "passed"]
        assert shown.locator("#case-same tr:not([data-name=status]) td").count() > 3
        links = shown.locator("#case-reports a").evaluate_all("all => all.map((a) => a.getAttribute('href'))")
        assert links == [f"{page.file_name(compared.new)}#case={worst.case.id}"]
        shown.locator("#case-groups a").first.click()
        assert not shown.is_visible("dialog#case") and "only=group" in shown.url


def test_going_through_the_cases(browser: Browser, compared: RunComparison, file: Path) -> None:
    order = ordered(compared.comparison)
    with ready(browser, file, width=390) as shown:
        shown.locator("#case-table tbody a").first.click()
        assert shown.text_content("#case-title") == order[0].case.label
        for judgment in order[1:4]:
            shown.keyboard.press("ArrowRight")
            assert shown.text_content("#case-title") == judgment.case.label
            assert shown.inner_text("dialog .status").strip() == judgment.verdict.value
        shown.get_by_role("button", name="Previous case").click()
        assert shown.text_content("#case-title") == order[2].case.label
        shown.wait_for_selector("#case-blocks[data-drawn], #case:not(:has(#case-blocks))")
        shown.get_by_role("button", name="Close this case").click()
        assert not shown.is_visible("dialog#case")


def test_a_case_that_one_side_lacks(browser: Browser, compared: RunComparison, file: Path) -> None:
    absent = next(judgment for judgment in compared.comparison.judgments if judgment.new_status is None)
    failed = next(judgment for judgment in _with(compared, Verdict.NOT_JUDGED) if judgment.reason.startswith("failed"))
    with ready(browser, file) as shown:
        _open(shown, absent)
        shown.wait_for_selector("#case-blocks[data-drawn]")
        assert shown.inner_text("#case-why") == "only in BASE"
        assert shown.locator("#case-sides tr[data-name=status] td").all_inner_texts() == ["passed", "-"]
        assert "(25) are not compared" in shown.inner_text("#case-blocks-summary")
        _open(shown, failed)
        assert shown.inner_text("#case-why") == failed.reason
        assert shown.locator("#case-same tr[data-name=status] td").all_text_contents() == ["failed", "failed"]
        assert shown.locator("dialog b, dialog img, dialog script").count() == 0


# The page as a whole


def test_themes_paper_and_readers_without_a_mouse(browser: Browser, file: Path) -> None:
    with ready(browser, file) as shown:
        _drawn(shown)
        nameless = shown.evaluate(
            """() => {
                const named = (each) => each.textContent.trim() || each.ariaLabel || each.title || each.placeholder
                    || each.labels?.length || each.getAttribute("aria-labelledby");
                const all = "button, select, input, a, [role=img], table, summary";
                return [...document.querySelectorAll(all)].filter((each) => each.checkVisibility() && !named(each))
                    .map((each) => each.outerHTML.slice(0, 120));
            }"""
        )
        assert nameless == []
        levels = shown.locator("h1, h2, h3, h4").evaluate_all("all => all.map((h) => Number(h.tagName[1]))")
        assert levels[0] == 1 and all(after - before <= 1 for before, after in itertools.pairwise(levels))
        shown.keyboard.press("Tab")
        assert shown.evaluate("document.activeElement.className") == "skip"
        shown.select_option("#theme", "dark")  # at the page's top: the picture may be out of view by then
        shown.locator("#picture-ratios").scroll_into_view_if_needed()
        until(shown, "document.querySelector('#picture-ratios').dataset.theme === 'dark'")
        assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 26)"
        shown.evaluate("window.scrollTo(0, 0)")
        shown.emulate_media(media="print")
        assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert shown.locator(".controls, #theme, .dt-search, button, .evidence").locator("visible=true").count() == 0
        assert shown.pdf().startswith(b"%PDF")


def test_the_page_is_whole_without_scripts(browser: Browser, compared: RunComparison, file: Path) -> None:
    with opened(browser, file, width=390, scripts="off") as seen:
        shown = seen.page
        assert shown.inner_text("h1") == comparison_page.headline(compared.comparison)
        assert shown.locator("#case-table tbody tr").count() == CASES
        assert shown.locator(".groups > li:visible").count() == len(compared.comparison.groups) > 0
        assert shown.locator("#differences tbody tr:visible").count() == len(compared.comparison.differences) > 0
        assert shown.locator(".plot:visible, .controls:visible, .evidence:visible").count() == 0
        assert shown.evaluate("document.documentElement.scrollWidth") <= 390 and seen.console == []


def test_side_by_side_is_told_in_pairs(browser: Browser, tmp_path: Path) -> None:
    compared = two_runs.aside()
    [worst, *_] = _with(compared, Verdict.REGRESSED)
    with ready(browser, _write(compared, tmp_path), view=f"case={worst.case.id}") as shown:
        shown.wait_for_selector("#case-blocks[data-drawn]")
        figures = shown.inner_text("dialog .case-figures")
        assert units.change(worst.median_ratio) in figures and "pairs compared" in figures
        assert "the floor of a pair" in shown.inner_text("#case-blocks-summary")
        shown.keyboard.press("Escape")
        heads = shown.locator("#case-table thead th").all_inner_texts()
        assert any("median pair" in head for head in heads) and any("measured again" in head for head in heads)
        assert "there" in shown.inner_text("#differences")


@pytest.mark.parametrize("name", ["one", "not reached", "not a number"])
def test_uncommon_comparisons(browser: Browser, name: str, tmp_path: Path) -> None:
    compared = UNCOMMON[name]()
    with ready(browser, _write(compared, tmp_path), width=390) as shown:
        assert cases_shown(shown) == len(compared.comparison.judgments)
        assert shown.evaluate("document.documentElement.scrollWidth") <= 390
        assert shown.locator("#picture-ratios").count() == (1 if name == "one" else 0)
        _open(shown, ordered(compared.comparison)[0])
        if shown.locator("#case-blocks").count():
            shown.wait_for_selector("#case-blocks[data-drawn]")
        assert "NaN" not in shown.inner_text("dialog")


def test_ten_thousand_cases(browser: Browser, tmp_path: Path) -> None:
    compared = two_runs.many(10_000)
    with ready(browser, _write(compared, tmp_path)) as shown:
        assert cases_shown(shown) == 10_000
        marks = _marks(_drawn(shown))
        assert sum(len(trace["x"]) for trace in marks.values()) == 1800
        assert "1,800 of 10,000 are drawn" in shown.inner_text("#picture-ratios .summary")
        _open(shown, ordered(compared.comparison)[-1])
        shown.wait_for_selector("#case-blocks[data-drawn]")


def test_a_change_is_written_as_python_writes_it(browser: Browser) -> None:
    factors = [1.0, 1.412, 0.9, 6.2, 0.0004, 1.9994, 1.99951, 0.99996, 1.00004, 193.07, math.pi]
    shown = browser.new_page()
    assert call(shown, "format.js", "formatChange", [[factor] for factor in factors]) == list(
        map(units.change, factors)
    )
    shown.close()
