"""The picture of ratios, the pairs behind a finding, saved and printed pictures, as a reader's browser shows them."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
from browser import ready, until
from commands import store
from playwright.sync_api import Browser, Locator, Page

from convbench import sweep as sweeps
from convbench.analysis.findings.contrasts import Contrast
from convbench.analysis.findings.findings import Examined, examined, with_details
from convbench.model.case import MemoryFormat
from convbench.model.result import Result, Run
from convbench.report.pages import run as report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def seen() -> Examined:
    """A run in which bfloat16 loses at 3 channels and wins at more."""
    return examined(synthetic.run(250))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(synthetic.run(250), tmp_path_factory.mktemp("report"))


def written(run: Run, folder: Path) -> Path:
    path = folder / report.file_name(run)
    path.write_text(report.render(run), encoding="utf-8")
    return path


def drawn(page: Page, picture: str) -> Locator:
    """A picture, once it shows its choices."""
    figure = page.locator(f"#picture-{picture}")
    figure.evaluate("(figure) => figure.scrollIntoView()")
    page.wait_for_selector(f"#picture-{picture}[data-drawn]")
    return figure


def dots(figure: Locator) -> dict[int, float]:
    """The row of each dot and its place on the y axis."""
    found: list[tuple[int, float]] = figure.locator(".plot").evaluate(
        "(plot) => plot.data.filter((trace) => trace.customdata).flatMap((trace) => "
        "trace.customdata.map((row, i) => [row, trace.y[i]]))"
    )
    return dict(found)


def named(seen: Examined, axis: str) -> Contrast:
    return next(each for each in seen.contrasts if each.axis == axis)


def test_one_click_from_a_finding_to_the_pairs_that_prove_it(browser: Browser, seen: Examined, file: Path) -> None:
    [finding] = [each for each in with_details(seen.findings) if each.sentence.startswith("bfloat16 is slower than")]
    slower, pairs = map(int, re.findall(r"in (\d+) of (\d+) matched cases", finding.sentence)[0])
    faster = int(re.findall(r"faster in (\d+)", finding.sentence)[0])
    place = list(seen.contrasts).index(named(seen, "dtype"))
    with ready(browser, file) as page:
        page.locator(f"a[data-contrast='{place}']").first.click()
        page.wait_for_selector("#picture-ratio tbody tr")
        assert page.input_value("select[name='ratio.axis']") == "dtype"
        assert page.input_value("select[name='ratio.values']") == "bfloat16 over float32"
        rows = page.locator("#picture-ratio tbody tr")
        cells = rows.evaluate_all("(all) => all.map((row) => [...row.cells].map((cell) => cell.textContent))")
        assert len(cells) == pairs == len(named(seen, "dtype"))
        verdicts = [cell[5] for cell in cells]
        assert (verdicts.count("faster"), verdicts.count("slower")) == (faster, slower)
        ratios = [float(cell[3].removesuffix("x").replace(",", "")) for cell in cells]
        assert ratios == sorted(ratios, reverse=True)
        assert {cell[6] for cell in cells} == {"Slow2d", "Mkldnn jit:avx512_core"}
        summary = page.inner_text("#picture-ratio .summary")
        assert re.search(
            f"bfloat16 over float32, of {pairs} matched layers: faster in {faster} .*, slower in {slower} ", summary
        )
        sides = drawn(page, "sides").locator(".summary").inner_text()
        assert sides.partition(". The lines")[0] == summary.partition(". Hollow")[0], "one answer to one question"
        assert not any(" bfloat16 " in f"{cell[0]} " for cell in cells), "the label of both sides"
        assert page.evaluate("document.querySelector('#picture-ratio h3') === document.activeElement")
        link = page.url.partition("#")[2]
        page.locator("#picture-ratio tbody a").first.click()
        assert set(cells[0][0].split()) < set(page.text_content("#case-title").split())
    with ready(browser, file, view=link.partition("&case")[0]) as page:
        drawn(page, "ratio")
        page.wait_for_selector("#picture-ratio tbody tr")
        assert page.locator("#picture-ratio tbody tr").count() == pairs


def test_dots_are_speed_ups_around_1x_sorted_and_coloured(browser: Browser, seen: Examined, file: Path) -> None:
    with ready(browser, file) as page:
        figure = drawn(page, "ratio")
        assert page.locator("[data-picture]:not([hidden])").first.get_attribute("id") == "picture-ratio"
        first = page.input_value("select[name='ratio.axis']")
        leading = next(
            each for each in with_details(seen.findings) if each.values and each.axis in ("dtype", "memory_format")
        )
        assert first == leading.axis == page.input_value("select[name='sides.axis']")
        contrast = named(seen, "memory_format")
        if first != "memory_format":
            page.select_option("select[name='ratio.axis']", "memory_format")
            until(
                page, "document.querySelector('#picture-ratio .summary').textContent.startsWith('channels_last over')"
            )
        found = dots(figure)
        assert found == {
            int(row): pytest.approx(1 / ratio, rel=3e-4)
            for row, ratio in zip(contrast.other_rows, contrast.ratio, strict=True)
        }
        assert figure.locator(".plot").evaluate("(plot) => plot.layout.yaxis.type") == "log"
        ranks = figure.locator(".plot").evaluate(
            "(plot) => plot.data.filter((trace) => trace.customdata).flatMap(({x, y}) => x.map((at, i) => [at, y[i]]))"
        )
        by_rank = [value for _, value in sorted(ranks)]
        assert by_rank == sorted(by_rank, reverse=True)
        page.select_option("select[name='ratio.colour']", "kernel_size")
        until(page, "document.querySelector('#picture-ratio .legendtitletext')?.textContent === 'Kernel size'")
        assert figure.locator(".legendtext").all_text_contents() == ["1x1", "3x3", "5x5"]


def test_half_padding_is_one_value_in_every_picture(browser: Browser, tmp_path: Path) -> None:
    text = """
axes:
  in_channels: [16, 32]
  out_channels: 16
  kernel_size: [1, 3, 5]
  padding: half
  input_size: 28
"""
    cases = sweeps.cases(sweeps.parse.parse(text, "sweep.yaml")).cases
    run = replace(synthetic.empty_run(), results=tuple(map(synthetic.result, cases)), source=text)
    with ready(browser, written(run, tmp_path)) as page:
        figure = drawn(page, "ratio")
        page.select_option("select[name='ratio.axis']", "kernel_size")
        page.select_option("select[name='ratio.values']", "3x3 over 1x1")
        until(page, "document.querySelector('#picture-ratio .summary').textContent.startsWith('3x3 over 1x1, of 2 ')")
        assert len(dots(figure)) == 2
        explorer = drawn(page, "explore")
        assert page.input_value("select[name='explore.x']") == "kernel_size", "it changes the time most"
        lines = explorer.locator(".plot").evaluate(
            "(plot) => plot.data.filter(({line}) => line?.width === 1).map(({x}) => x)"
        )
        assert lines == [[1, 3, 5, None]] * 2, "one line for each number of channels"


def test_one_case_is_one_page_of_a_case(browser: Browser, tmp_path: Path) -> None:
    run = synthetic.run(1)
    with ready(browser, written(run, tmp_path), width=390) as page:
        assert page.locator("[data-picture]").count() == 0
        assert page.inner_text("#pictures-title") == "The case"
        assert page.inner_text("#single #case-title") == run.results[0].case.label
        page.wait_for_selector("#single #case-blocks[data-drawn] svg")
        assert page.evaluate("scrollY") == 0 and not page.is_visible(".case-bar")
        page.locator("#case-table tbody a").click()
        assert page.is_visible("#single #case-title"), "the link leads to it"
        page.keyboard.press("Escape")
        page.mouse.click(5, 5)
        assert page.is_visible("#single #case-title")


@pytest.mark.parametrize(("form", "begin"), [("svg", b"<svg"), ("png", b"\x89PNG")])
def test_a_picture_is_saved_from_the_page(browser: Browser, file: Path, form: str, begin: bytes) -> None:
    with ready(browser, file) as page:
        figure = drawn(page, "ratio")
        with page.expect_download() as loaded:
            figure.locator(f".modebar-btn[data-title='Save as {form.upper()}']").click()
        assert loaded.value.suggested_filename == f"{file.stem}-ratio.{form}"
        assert Path(loaded.value.path()).read_bytes().startswith(begin)


def test_all_pictures_are_drawn_before_the_page_is_printed(browser: Browser, file: Path) -> None:
    state = (
        "Object.fromEntries([...document.querySelectorAll('[data-picture]')]"
        ".map((figure) => [figure.dataset.picture, Boolean(figure.dataset.drawn)]))"
    )
    never_idle = """
        let asked = 0;
        window.requestIdleCallback = (then) => { asked += 1; if (asked <= 2) setTimeout(then, 0); };
        window.printed = 0;
        window.print = () => { window.printed += 1; };
    """
    context = browser.new_context(viewport={"width": 1440, "height": 300})
    page = context.new_page()
    page.add_init_script(never_idle)
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-ready]")
    drawn(page, "explore")
    before = page.evaluate(state)
    assert not before["roofline"] and not before["noise"]
    at_once = page.evaluate(f"() => {{ window.dispatchEvent(new Event('beforeprint')); return {state}; }}")
    assert at_once["roofline"] and at_once["ranking"] and at_once["sides"]
    page.keyboard.press("Control+p")
    until(page, "window.printed === 1")
    assert all(page.evaluate(state).values()), "also those whose data had not been read"
    context.close()


def test_a_network_has_bars_for_each_dtype_and_format(browser: Browser, tmp_path: Path) -> None:
    ways = [(dtype, layout) for dtype in ("float32", "bfloat16") for layout in MemoryFormat]
    results = [
        synthetic.result(
            synthetic.layer(channels, given_label=f"layer {channels}", count=2, dtype=dtype, memory_format=layout)
        )
        for channels in (16, 32, 48)
        for dtype, layout in ways
    ]
    run = replace(synthetic.empty_run(), results=tuple(results))
    frame = examined(run).table
    with ready(browser, written(run, tmp_path)) as page:
        figure = drawn(page, "network")
        bars = figure.locator(".plot").evaluate(
            "(plot) => plot.data.filter(({type}) => type === 'bar').map(({x, y}) => [x, y])"
        )
        sums = frame.assign(all=frame["floor_s"] * frame["count"]).groupby(["dtype", "memory_format"])["all"].sum()
        assert [sum(x) for x, _ in bars] == pytest.approx(sorted(sums), rel=1e-5), "the fastest first"
        assert all(sorted(y) == [0, 1, 2] for _, y in bars)
        legend = figure.locator(".legendtext").all_text_contents()
        assert sorted(legend) == sorted(f"{dtype} {layout}" for dtype, layout in ways)
        page.select_option("select[name='network.way']", "bfloat16 channels_last")
        until(page, "document.querySelector('#picture-network .summary').textContent.includes('floors times counts')")


def saved(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `convbench picture` does, in a process of its own: this one has a browser open already."""
    command = [sys.executable, "-m", "convbench", "--db", "my.db", "picture", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_a_picture_is_saved_from_the_terminal(browser: Browser, tmp_path: Path) -> None:
    run = store(synthetic.run(60, troubles=False), tmp_path / "my.db")
    done = saved(tmp_path, "latest", "--of", "ratio", "--setting", "memory_format", "-o", "x.svg")
    assert (done.returncode, done.stdout, done.stderr) == (0, "x.svg\n", "")
    drawing = (tmp_path / "x.svg").read_text(encoding="utf-8")
    assert drawing.startswith("<svg") and "Speed-up over contiguous" in drawing
    done = saved(tmp_path, "latest", "--of", "roofline")
    assert (
        done.returncode == 0 and done.stdout == f"reports/{report.file_name(run).removesuffix('.html')}-roofline.svg\n"
    )
    for arguments, message in (
        (("--of", "network"), "this run has no picture network\n  hint: it has ratio, "),
        (("--setting", "threads"), "the picture ratio cannot show 'threads'\n  hint: it can show "),
    ):
        done = saved(tmp_path, "latest", *arguments)
        assert done.returncode == 2 and message in done.stderr


def test_too_few_processes_are_said_to_be_so(browser: Browser, tmp_path: Path) -> None:
    def measured(channels: int, dtype: str, floor_s: float, processes: int) -> Result:
        made = synthetic.blocks(floor_s, processes=processes, noise=0.0)
        return synthetic.result(synthetic.layer(channels, dtype=dtype), made=made)

    sides = {8: (1.0, 1), 9: (1.01, 2), **dict.fromkeys(range(10, 18), (1.0, 4)), 18: (0.5, 2)}
    results = [
        measured(channels, dtype, 1e-3 * (ratio if dtype == "bfloat16" else 1), processes)
        for channels, (ratio, processes) in sides.items()
        for dtype in ("float32", "bfloat16")
    ]
    with ready(browser, written(replace(synthetic.empty_run(), results=tuple(results)), tmp_path)) as page:
        figure = drawn(page, "ratio")
        page.select_option("select[name='ratio.axis']", "dtype")
        until(page, "document.querySelector('#picture-ratio .summary').textContent.startsWith('bfloat16 over')")
        assert (
            figure.locator(".summary")
            .inner_text()
            .startswith(
                "bfloat16 over float32, of 11 matched layers: too few processes to judge in 2, within noise or less "
                "than 5 % apart in 9. As speed-up, the range is 0.99"
            )
        )
        figure.locator("details.pairs summary").click()
        page.wait_for_selector("#picture-ratio tbody tr")
        cells = figure.locator("tbody tr").evaluate_all(
            "(all) => all.map((row) => [...row.cells].map((c) => c.textContent))"
        )
        assert [cell[5] for cell in cells].count("too few processes to judge") == 2
        assert [cell[4] for cell in cells].count("unknown from one process") == 1
