"""Pages of runs on a device: which figure leads, in words and in pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic
from browser import ready, until
from playwright.sync_api import Browser, Page

from convbench.analysis.comparison.comparison import compare
from convbench.analysis.comparison.judgment import RunComparison
from convbench.model.result import Run
from convbench.report.pages import comparison as comparison_page
from convbench.report.pages import run as run_page

pytestmark = pytest.mark.browser


def _run(*sides: tuple[str, str, float, float], name: str = "run") -> Run:
    """Layers as (device, dtype, steady seconds, seconds of a block's start)."""
    results = []
    for device, dtype, steady, start in sides:
        case = synthetic.layer(16, device=device, dtype=dtype)
        made = synthetic.device_blocks([steady * (1 + 0.001 * p) for p in range(5)], start=start)
        results.append(synthetic.result(case, made=made))
    return replace(synthetic.empty_run(), id=name, results=tuple(results))


DEVICE = _run(("cuda", "float32", 1e-3, 0.4e-3), ("cuda", "float16", 0.5e-3, 0.45e-3))
MIXED = _run(("cpu", "float32", 5e-3, 4e-3), ("cuda", "float32", 1e-3, 0.4e-3), ("cpu", "float16", 3e-3, 2e-3))


def _picture(page: Page, name: str) -> tuple[list[dict[str, Any]], str]:
    """The traces and the sentence of a picture."""
    page.locator(f"#picture-{name}").scroll_into_view_if_needed()
    until(page, f"document.querySelector('#picture-{name}').dataset.drawn")
    found = page.evaluate(
        f"document.querySelector('#picture-{name} .plot').data.map((trace) => JSON.parse(JSON.stringify(trace)))"
    )
    return found, page.locator(f"#picture-{name} .summary").inner_text()


def _dots(traces: Sequence[dict[str, Any]]) -> list[float]:
    found = next(trace["y"] for trace in traces if trace.get("mode") == "markers")
    return [found[key] for key in sorted(found, key=int)] if isinstance(found, dict) else found


def test_a_report_of_a_device_ranks_and_draws_medians(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(run_page.render(DEVICE), encoding="utf-8")
    with ready(browser, file) as page:
        heads = [each.inner_text().split()[0] for each in page.locator("#case-table thead th").all()]
        assert heads.index("median") < heads.index("floor")
        traces, summary = _picture(page, "ranking")
        assert _dots(traces) == pytest.approx([0.501e-3, 1.002e-3], rel=1e-3)
        assert "A dot is a case's median, and the line below it ends at its floor." in summary
        traces, summary = _picture(page, "noise")
        assert summary.startswith("A dot is a block against its case's median, ")
        assert all(0.99 < ratio < 1.01 for ratio in _dots(traces))
        assert "Time (median)" in page.locator("#picture-explore").inner_text()
        traces, summary = _picture(page, "ratio")
        assert _dots(traces) == pytest.approx([2.0], rel=1e-3)
        page.locator("#picture-ratio details.pairs summary").first.click()
        pairs = page.locator("#picture-ratio table").inner_text()
        assert "Times are medians." in pairs and "1.00 ms" in pairs and "501 us" in pairs
        page.evaluate(f"location.hash = 'case={DEVICE.results[0].case.id}'")
        page.wait_for_selector("#case-blocks[data-drawn]")
        figures = page.locator(".case-figures dt").all_inner_texts()
        assert figures[:2] == ["median", "floor"]
        told = page.locator("#case-neighbours").inner_text()
        assert "Median" in told and "2.00x faster" in told


def test_a_report_of_cpu_and_device_names_the_figure_of_each_case(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(run_page.render(MIXED), encoding="utf-8")
    with ready(browser, file) as page:
        heads = [each.inner_text().split("\n")[0] for each in page.locator("#case-table thead th").all()]
        first = next(at for at, head in enumerate(heads) if head.startswith("time"))
        assert heads[first + 1].startswith("time is the")
        traces, summary = _picture(page, "ranking")
        assert _dots(traces) == pytest.approx([1.002e-3, 2e-3, 4e-3], rel=1e-3)
        assert "A dot is a case's time, and the line goes from its floor to its typical time" in summary
        assert "the floor of a case on the CPU, and the median of a case on a device" in page.inner_text("#reading")
        page.evaluate(f"location.hash = 'case={MIXED.results[1].case.id}'")
        page.wait_for_selector("#case-blocks[data-drawn]")
        assert page.locator(".case-figures").inner_text().split("\n")[:4] == [
            "time",
            "1.00 ms",
            "time is the",
            "median",
        ]


def test_a_comparison_of_a_device_draws_medians(browser: Browser, tmp_path: Path) -> None:
    slower = _run(("cuda", "float32", 1.3e-3, 0.4e-3), ("cuda", "float16", 0.5e-3, 0.45e-3), name="slower")
    compared = RunComparison(comparison=compare(DEVICE, slower), base=DEVICE, new=slower)
    file = tmp_path / "comparison.html"
    file.write_text(comparison_page.render(compared), encoding="utf-8")
    with ready(browser, file, view=f"case={DEVICE.results[0].case.id}") as page:
        assert page.locator("h3:text('New median over base median')").count() == 1
        assert "the lowest block over all" not in page.inner_text("#reading").replace("The lowest block is", "")
        page.wait_for_selector("#case-blocks[data-drawn]")
        told = page.locator("#case-blocks-summary").inner_text()
        assert told.startswith("A mark is a block's median, and a line is the median of a process.")
        traces = page.evaluate(
            "document.querySelector('#case-blocks').data.map((trace) => JSON.parse(JSON.stringify(trace)))"
        )
        marks = [_dots([trace]) for trace in traces if trace.get("mode") == "markers"]
        assert max(marks[0]) < 1.01e-3 and min(marks[2]) > 1.29e-3, "no mark is at the start of a block"
