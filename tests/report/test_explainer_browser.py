"""The interactive explanation as a reader uses it: every control, in a real browser."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import Opened, opened, until
from browser_scripts import call
from playwright.sync_api import Browser, Page
from problems import as_json, some

from convbench import units
from convbench.model.case import Case, MemoryFormat
from convbench.model.problem import Direction, PaddingMode, PaddingWord, Problem
from convbench.report.pages import explain as explain_page
from convbench.report.pages import scripts
from convbench.report.text import explain as words

pytestmark = pytest.mark.browser

BOTH = pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
PLAIN = Problem(in_channels=2, out_channels=3, kernel_size=(3, 3), input_size=(7, 7), padding=(1, 1))
HUGE = Problem(
    in_channels=2048,
    out_channels=2048,
    kernel_size=(11, 11),
    input_size=(1024, 1024),
    stride=(3, 3),
    padding=(5, 5),
    batch_size=512,
)
#: More rows than a page can walk.
VAST = 2_000_000_000
GUTTER = 26  # left of and above a grid's cells, see explainer_grids.js


@contextmanager
def shown(
    browser: Browser, folder: Path, case: Case | Problem, *, width: int = 1440, scheme: str = "light"
) -> Iterator[Page]:
    """The page of a case; nothing may have gone wrong or been fetched when it is closed."""
    case = case if isinstance(case, Case) else Case(problem=case)
    file = folder / explain_page.file_name(case)
    file.write_text(explain_page.render(case), encoding="utf-8")
    with opened(browser, file, width=width, scheme=scheme, motion="usual") as seen:
        seen.page.wait_for_selector("html[data-ready]", state="attached")
        yield seen.page
        _without_trouble(seen, file)
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width


def _without_trouble(seen: Opened, file: Path) -> None:
    assert seen.console == []
    assert [url for url in seen.requests if url.partition("#")[0] != file.as_uri()] == []


def _step_text(page: Page) -> str:
    return page.inner_text(".cx-step-text")


def _place(page: Page) -> tuple[int, int]:
    found = re.match(r"Output row (\d+), column (\d+)", _step_text(page))
    assert found, _step_text(page)
    return int(found[1]), int(found[2])


def _formulas(page: Page) -> list[str]:
    return page.locator(".cx-formula").evaluate_all(
        """formulas => formulas.map((formula) => {
             const copy = formula.cloneNode(true);
             for (const label of copy.querySelectorAll("small, .cx-axis")) label.remove();
             return copy.textContent;
           })"""
    )


def _facts(page: Page) -> dict[str, str]:
    return dict(
        page.locator(".cx-facts > div").evaluate_all(
            "rows => rows.map(row => ['dt', '.cx-result'].map(part => row.querySelector(part).textContent))"
        )
    )


def _shows(page: Page, case: Case) -> None:
    """All that the page says of a case in words and numbers is what Python says."""
    p = case.problem
    assert page.inner_text(".cx-constructor") == words.constructor_text(case)
    assert page.inner_text(".cx-summary") == words.summary_text(case)
    assert _formulas(page) == [words.formula_text(p, axis) for axis in (0, 1)]
    notes = [
        f"{name.capitalize()}: {note}"
        for axis, name in enumerate(p.operator.dimensions)
        for note in words.axis_notes(p, axis)
    ]
    assert page.locator(".cx-note").all_inner_texts() == notes
    facts = _facts(page)
    assert facts["input"] == words.shape_text(p.input_shape)
    assert facts["weight"] == words.shape_text(p.weight_shape)
    assert facts["bias"] == (words.shape_text(p.bias_shape) if p.bias_shape else "none")
    assert facts["output"] == words.shape_text(p.output_shape)
    assert facts["parameters"] == f"{p.parameters:,}"
    assert facts[f"FLOPs, {case.direction}"].split(" ")[0] == f"{case.flops:,}"
    assert facts["bytes, at the least"].split(" ")[0] == f"{case.bytes:,}"


#: The bytes of a canvas, read from a copy: Chromium complains about reading one that is drawn on.
_PIXELS = """(canvas) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  return copy.getImageData(0, 0, canvas.width, canvas.height).data;
}"""


def _inked(page: Page, selector: str) -> None:
    """Wait until a canvas holds anything but nothing: drawing takes a frame or more."""
    until(page, f"(selector) => ({_PIXELS})(document.querySelector(selector)).some(Boolean)", selector)


def _set(page: Page, setting: str, text: object, axis: object = "") -> None:
    page.fill(f'.cx-controls input[data-setting="{setting}"][data-axis="{axis}"]', str(text))


def _cell(page: Page, grid: str, size: tuple[int, int], cell: tuple[int, int]) -> tuple[float, float]:
    """Where on the page the middle of a cell lies, of a grid that is shown whole."""
    canvas = page.locator(f".cx-{grid} .cx-canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    side = (box["width"] - GUTTER - 3) / size[1]
    return box["x"] + GUTTER + (cell[1] + 0.5) * side, box["y"] + GUTTER + (cell[0] + 0.5) * side


@BOTH
def test_the_kernel_moves(browser: Browser, tmp_path: Path, scheme: str, width: int) -> None:
    with shown(browser, tmp_path, PLAIN, width=width, scheme=scheme) as page:
        for canvas in (".cx-input .cx-canvas", ".cx-kernel .cx-canvas", ".cx-output .cx-canvas", ".cx-channels"):
            until(page, f"document.querySelector('{canvas}').getBoundingClientRect().width > 20")
            _inked(page, canvas)
        assert _place(page) == (0, 0)
        for move, place in (
            ("forward", (0, 1)),
            ("forward", (0, 2)),
            ("back", (0, 1)),
            ("last", (6, 6)),
            ("forward", (6, 6)),
            ("first", (0, 0)),
            ("back", (0, 0)),
        ):
            page.click(f"[data-move={move}]")
            assert _place(page) == place
        page.focus(".cx-keys")
        for key, place in (
            ("ArrowRight", (0, 1)),
            ("ArrowDown", (1, 1)),
            ("End", (1, 6)),
            ("ArrowRight", (1, 6)),
            ("Home", (1, 0)),
            ("ArrowLeft", (1, 0)),
            ("Control+End", (6, 6)),
            ("ArrowUp", (5, 6)),
            ("PageUp", (0, 6)),
            ("Control+Home", (0, 0)),
        ):
            page.keyboard.press(key)
            assert _place(page) == place
        page.locator(".cx-progress").fill("12")
        assert _place(page) == (1, 5)
        assert page.get_attribute(".cx-progress", "aria-valuetext") == "row 1, column 5"


def test_it_plays_to_the_end_and_stops(browser: Browser, tmp_path: Path) -> None:
    with shown(browser, tmp_path, PLAIN) as page:
        page.select_option(".cx-speed select", "fast")
        click = "(() => { const play = document.querySelector('.cx-play'); play.click(); return play.textContent; })()"
        assert page.evaluate(click) == "Pause"
        until(page, "document.querySelector('.cx-step-text').textContent.includes('row 6, column 6')")
        until(page, "document.querySelector('.cx-play').textContent === 'Play'")
        page.select_option(".cx-speed select", "normal")  # so that it is still playing when it is stopped
        page.focus(".cx-keys")
        page.keyboard.press("Space")  # from the beginning again
        until(page, "document.querySelector('.cx-play').textContent === 'Pause'")
        page.keyboard.press("Space")
        assert page.inner_text(".cx-play") == "Play"
        before = _place(page)
        page.wait_for_timeout(600)  # longer than a step
        assert _place(page) == before
        page.emulate_media(reduced_motion="reduce")
        page.select_option(".cx-speed select", "fast")
        page.click("[data-move=first]")
        page.click(".cx-play")
        until(page, "document.querySelector('.cx-step-text').textContent.includes('row 1,')")


def test_a_pointer_on_the_output_moves_the_kernel(browser: Browser, tmp_path: Path) -> None:
    with shown(browser, tmp_path, PLAIN) as page:
        page.mouse.move(*_cell(page, "output", (7, 7), (4, 2)))
        assert _place(page) == (4, 2)
        page.mouse.click(*_cell(page, "output", (7, 7), (5, 6)))
        assert _place(page) == (5, 6)


@pytest.mark.parametrize("mode", PaddingMode)
def test_a_pointer_on_the_input_tells_who_reads_it(browser: Browser, tmp_path: Path, mode: PaddingMode) -> None:
    problem = replace(PLAIN, kernel_size=(3, 3), stride=(2, 2), input_size=(6, 6), padding=(2, 2), padding_mode=mode)
    with shown(browser, tmp_path, problem) as page:
        page.mouse.move(*_cell(page, "input", (10, 10), (2 + 1, 2 + 2)))
        rows, columns = (
            {
                out
                for out in range(problem.output_size[0])
                for tap in range(3)
                for at in [out * 2 + tap - 2]
                if at == row
                or (mode is PaddingMode.REFLECT and (-at == row or 10 - at == row))
                or (mode is PaddingMode.CIRCULAR and at % 6 == row)
            }
            for row in (1, 2)
        )
        text = _step_text(page)
        where = [
            f"{noun}{'s' if len(places) > 1 else ''} {words.places_text(tuple(sorted(places)))}"
            for noun, places in (("row", rows), ("column", columns))
        ]
        number = units.plural(len(rows) * len(columns), "output")
        assert text == f"Input row 1, column 2 is read for {number} of each channel: {', '.join(where)}."
        page.mouse.move(*_cell(page, "input", (10, 10), (0, 4)))
        held = {PaddingMode.ZEROS: "a zero", PaddingMode.REFLECT: "row 2", PaddingMode.REPLICATE: "row 0"}
        assert f"{held.get(mode, 'row 4')}" in _step_text(page)
        page.mouse.move(5, 5)
        assert _place(page) == (0, 0)


def test_every_setting_can_be_set(browser: Browser, tmp_path: Path) -> None:
    case = Case(problem=PLAIN, direction=Direction.TRAIN_STEP, dtype="bfloat16")
    with shown(browser, tmp_path, case) as page:
        _shows(page, case)
        p = PLAIN

        def now(**settings: object) -> None:
            nonlocal p
            p = replace(p, **settings)
            _shows(page, replace(case, problem=p))

        _set(page, "input_size", 12, 0)
        now(input_size=(12, 12))
        _set(page, "kernel_size", 4, 0)
        now(kernel_size=(4, 4))
        _set(page, "stride", 3, 0)
        now(stride=(3, 3))
        _set(page, "dilation", 2, 0)
        now(dilation=(2, 2))
        page.uncheck("[data-setting=square]")
        _set(page, "padding", 3, 1)
        now(padding=(1, 3))
        _set(page, "input_size", 40, 1)
        now(input_size=(12, 40))
        _set(page, "stride", 1, 0)
        _set(page, "stride", 1, 1)
        now(stride=(1, 1))
        page.select_option("select[data-setting=padding]", "same")
        now(padding=PaddingWord.SAME)
        page.select_option("select[data-setting=padding]", "valid")
        now(padding=PaddingWord.VALID)
        page.select_option("select[data-setting=padding]", "")
        now(padding=(1, 3))
        for mode in PaddingMode:
            page.select_option("[data-setting=padding_mode]", mode.value)
            now(padding_mode=mode)
        _set(page, "in_channels", 6)
        now(in_channels=6)
        _set(page, "out_channels", 9)
        now(out_channels=9)
        _set(page, "groups", 3)
        now(groups=3)
        _set(page, "batch_size", 32)
        now(batch_size=32)
        page.check("[data-setting=unbatched]")
        now(batch_size=None)
        page.uncheck("[data-setting=bias]")
        now(bias=False)
        stepper = page.locator('.cx-stepper:has([data-setting="kernel_size"][data-axis="0"])')
        stepper.locator("[data-by='1']").click()
        now(kernel_size=(5, 4))
        stepper.locator("[data-by='-1']").click()
        stepper.locator("input").press("ArrowDown")
        now(kernel_size=(3, 4))
        page.check("[data-setting=square]")  # the width follows the height
        assert page.input_value('[data-setting="kernel_size"][data-axis="1"]') == "3"


@BOTH
def test_examples(browser: Browser, tmp_path: Path, scheme: str, width: int) -> None:
    with shown(browser, tmp_path, PLAIN, width=width, scheme=scheme) as page:
        for example in page.locator(".cx-examples button").all():
            example.click()
            assert example.get_attribute("aria-pressed") == "true"
            assert page.locator(".cx-refusal").inner_text() == ""
            page.click("[data-move=last]")
            _inked(page, ".cx-output .cx-canvas")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.click(".cx-reset")
        assert page.inner_text(".cx-constructor") == words.constructor_text(Case(problem=PLAIN))
        assert page.locator(".cx-reset").is_hidden()


def test_the_rows_that_flooring_drops_are_marked(browser: Browser, tmp_path: Path) -> None:
    problem = replace(PLAIN, input_size=(9, 9), stride=(5, 1), padding=(0, 0))
    with shown(browser, tmp_path, problem) as page:
        assert "never read" in page.inner_text(".cx-legend")
        label = page.get_attribute(".cx-input .cx-canvas", "aria-label") or ""
        assert "3 rows and 0 columns of it are never read" in label
        page.mouse.move(*_cell(page, "input", (9, 9), (4, 4)))
        assert _step_text(page) == "Input row 4, column 4 is never read."
        _set(page, "stride", 1, 0)
        assert "never read" not in page.inner_text(".cx-legend")


@BOTH
def test_the_sum_is_the_output(browser: Browser, tmp_path: Path, scheme: str, width: int) -> None:
    """Every product, added up here, gives the number that samples.js gives (which is torch's)."""
    problem = replace(
        PLAIN, in_channels=24, out_channels=6, groups=3, dilation=(2, 1), padding_mode=PaddingMode.REFLECT
    )
    draw = random.Random(5)
    with shown(browser, tmp_path, problem, width=width, scheme=scheme) as page:
        assert page.locator(".cx-sum-body").is_visible() == (width > 390), "on a small screen it is on demand"
        if width == 390:
            page.click(".cx-sum summary")
        for channel in (0, 3, 5):
            page.fill("[data-channel=out]", str(channel))
            place = (draw.randrange(problem.output_size[0]), draw.randrange(7))
            page.locator(".cx-progress").fill(str(place[0] * problem.output_size[1] + place[1]))
            [expected] = call(page, "samples.js", "outputValue", [[as_json(problem), channel, list(place)]])
            assert f"Its value is {expected}." in _step_text(page)
            total = page.inner_text(".cx-total").replace("\u2212", "-")
            assert total.rpartition("=")[2].strip() == str(expected)
            summed = 0
            for figure in page.locator(".cx-product").all():
                products = figure.locator("td").all_inner_texts()
                assert len(products) == 9
                factors = [map(int, text.replace("\u2212", "-").split("\u00d7")) for text in products]
                here = sum(x * w for x, w in factors)
                assert figure.locator("p").inner_text() == f"= {here}".replace("-", "\u2212")
                summed += here
            rest = re.search(r"(-?\d+) \((\d) more channels\)", total)
            assert rest and int(rest[2]) == 8 - page.locator(".cx-product").count()
            assert summed + int(rest[1]) + channel % 3 + 1 == expected
        page.click(".cx-sum summary")
        page.click("[data-move=first]")
        assert page.locator(".cx-sum-body").is_hidden()
        page.click(".cx-sum summary")
        page.locator(".cx-product").first.wait_for()


def test_channels_and_groups(browser: Browser, tmp_path: Path) -> None:
    problem = replace(PLAIN, in_channels=12, out_channels=6, groups=3)
    with shown(browser, tmp_path, problem) as page:
        said = page.locator(".cx-channel-words")
        assert said.inner_text().startswith("Out channel 0 sees in channels 0 to 3, its group (one of 3).")
        page.fill("[data-channel=out]", "5")
        assert said.inner_text().startswith("Out channel 5 sees in channels 8 to 11")
        assert page.input_value("[data-channel=in]") == "8"
        page.fill("[data-channel=in]", "5")  # of another group, whose first output comes along
        assert page.input_value("[data-channel=out]") == "2"
        page.press("[data-channel=out]", "ArrowUp")
        assert page.input_value("[data-channel=out]") == "3"
        page.fill("[data-channel=out]", "999")
        assert page.input_value("[data-channel=out]") == "5"
        page.fill("[data-channel=out]", "nonsense")
        page.locator("[data-channel=in]").focus()
        assert page.input_value("[data-channel=out]") == "5"
        strip = page.locator(".cx-channels")
        strip.click(position={"x": 42 * 1.5, "y": 10})
        assert page.input_value("[data-channel=in]") == "1"
        strip.click(position={"x": 42 * 2.5, "y": 100})
        assert page.input_value("[data-channel=out]") == "2"
        assert strip.get_attribute("aria-label") == said.inner_text()
        depthwise = page.locator(".cx-examples button", has_text="depthwise")
        depthwise.click()
        assert "depthwise" in said.inner_text()


@pytest.mark.parametrize(
    "about",
    [
        {"kernel_size": (VAST, VAST), "padding": (VAST // 2, VAST // 2)},
        {"input_size": (VAST, 5)},
        {"padding": (VAST, VAST), "padding_mode": PaddingMode.REPLICATE},
        {"kernel_size": (VAST, 3)},  # torch refuses it
    ],
)
def test_a_layer_too_large_to_draw_is_told_and_an_example_shown(
    browser: Browser, tmp_path: Path, about: dict[str, object]
) -> None:
    problem = replace(Problem(in_channels=1, out_channels=1, kernel_size=(3, 3), input_size=(5, 5)), **about)
    with shown(browser, tmp_path, problem) as page:
        assert "this layer is too large to be drawn" in page.locator(".cx-mistakes").inner_text()
        assert "on 1 image of 1x5x5" in page.locator(".cx-constructor").inner_text()


def test_a_module_that_pads_by_itself_is_not_drawn(browser: Browser, tmp_path: Path) -> None:
    with shown(browser, tmp_path, replace(PLAIN, module_output_size=(9, 9))) as page:
        assert "a module that pads by itself is not drawn; shown is an example" in page.inner_text(".cx-mistakes")


def test_an_empty_batch_is_shown(browser: Browser, tmp_path: Path) -> None:
    with shown(browser, tmp_path, replace(PLAIN, batch_size=0)) as page:
        assert page.inner_text(".cx-mistakes") == ""
        assert "on 0 images of " in page.inner_text(".cx-constructor")
        assert "(0, " in page.inner_text(".cx-facts")
        assert page.input_value('[data-setting="batch_size"]') == "0"


def test_nonsense_is_told_and_costs_nothing(browser: Browser, tmp_path: Path) -> None:
    with shown(browser, tmp_path, PLAIN) as page:
        for text in ("", "three", "-3", "0", "1.5", "1e9", "NaN", "99999999999999999999", "<b>", "∞"):
            _set(page, "kernel_size", 3, 0)
            page.click("[data-move=first]")
            _refuses(page, text)


def _refuses(page: Page, text: str) -> None:
    """A text that is no size of a kernel is told, and what is shown stays until there is one."""
    before = page.inner_text(".cx-facts")
    _set(page, "kernel_size", text, 0)
    said = page.inner_text(".cx-mistakes")
    assert re.match("kernel_size, height: expected an integer of at (least 1|most 1,024), got ", said)
    assert text[:20] in said
    field = page.locator('[data-setting="kernel_size"][data-axis="0"]')
    assert field.get_attribute("aria-invalid") == "true"
    assert page.locator("#explainer.cx-stale").count() == 1
    assert page.inner_text(".cx-facts") == before
    page.click("[data-move=forward]")
    assert _place(page) == (0, 1)
    assert "NaN" not in page.inner_text("#explainer").replace(said, "")
    _set(page, "kernel_size", " 2 ", 0)
    assert page.inner_text(".cx-mistakes") == ""
    assert page.locator("#explainer.cx-stale").count() == 0
    _shows(page, Case(problem=replace(PLAIN, kernel_size=(2, 2))))


REFUSED = {
    "groups": replace(PLAIN, groups=4),
    "same": replace(PLAIN, stride=(2, 2), padding=PaddingWord.SAME),
    "kernel": replace(PLAIN, kernel_size=(9, 12)),
    "reflect": replace(PLAIN, padding=(8, 1), padding_mode=PaddingMode.REFLECT),
    "both": replace(PLAIN, in_channels=6, out_channels=10, kernel_size=(9, 9), groups=4, padding=(0, 0)),
}


@pytest.mark.parametrize(
    ("name", "scheme", "width"), [*((name, "light", 1440) for name in REFUSED), ("both", "dark", 390)]
)
def test_what_torch_refuses(browser: Browser, tmp_path: Path, name: str, scheme: str, width: int) -> None:
    case = Case(problem=REFUSED[name])
    with shown(browser, tmp_path, case, width=width, scheme=scheme) as page:
        assert f"torch refuses this: {case.refusal()}." in page.inner_text(".cx-refusal")
        assert page.locator("#explainer.cx-stale").count() == 1
        ways = words.ways_out(case)[:6]
        buttons = page.locator(".cx-ways button")
        assert buttons.count() == len(ways)
        for index, way in enumerate(ways):
            better = words.changed(case, way)
            said = " and ".join(
                f"{name} {words.value_text(value)} instead of {words.value_text(words.setting(case, name))}"
                for name, value in way.items()
            )
            shape = words.shape_text(better.problem.output_shape)
            assert buttons.nth(index).inner_text().split("\n") == [said, f"output {shape}"]
        _inked(page, ".cx-input .cx-canvas")  # the nearest that works, dimmed
        page.focus(".cx-keys")
        page.keyboard.press("Control+End")
        buttons.first.click()
        assert page.inner_text(".cx-refusal") == ""
        assert page.locator("#explainer.cx-stale").count() == 0
        _shows(page, words.changed(case, ways[0]))


def test_the_last_drawing_that_works_stays(browser: Browser, tmp_path: Path) -> None:
    with shown(browser, tmp_path, PLAIN) as page:
        page.click("[data-move=last]")
        before = _step_text(page)
        _set(page, "groups", 4)
        assert "must be divisible by groups (4)" in page.inner_text(".cx-refusal")
        assert _step_text(page) == before
        assert f"Dimmed below, one that works: {words.constructor_text(Case(problem=PLAIN))}" in page.inner_text(
            ".cx-refusal"
        )


def test_a_format_that_needs_a_batch(browser: Browser, tmp_path: Path) -> None:
    case = Case(problem=replace(PLAIN, batch_size=None), memory_format=MemoryFormat.CHANNELS_LAST)
    with shown(browser, tmp_path, case) as page:
        assert case.refusal() in page.inner_text(".cx-refusal")
        page.click(".cx-ways button")
        _shows(page, replace(case, problem=PLAIN))


def test_the_setting_is_in_the_address(browser: Browser, tmp_path: Path) -> None:
    with shown(browser, tmp_path, PLAIN) as page:
        _set(page, "stride", 2, 0)
        until(page, "location.hash === '#c2-7x7-k3-3x3-s2x2-p1x1'")
        page.reload()
        page.wait_for_selector("html[data-ready]", state="attached")
        _shows(page, Case(problem=replace(PLAIN, stride=(2, 2))))
        page.click(".cx-reset")
        until(page, "location.hash === ''")
        page.evaluate("location.hash = 'c1-9x9-k1-3x3-unbatched'")
        until(page, "document.querySelector('.cx-constructor').textContent.includes('unbatched')")
        page.evaluate("location.hash = '<img src=x onerror=alert(1)>'")
        until(page, "document.querySelector('.cx-constructor').textContent.includes('2x7x7')")


@BOTH
def test_large_layers_show_a_part_and_a_map(browser: Browser, tmp_path: Path, scheme: str, width: int) -> None:
    with shown(browser, tmp_path, HUGE, width=width, scheme=scheme) as page:
        _shows(page, Case(problem=HUGE))
        if width == 1440:
            for setting, number in (("input_size", 28), ("kernel_size", 3), ("stride", 1), ("padding", 1)):
                _set(page, setting, number, 0)
            assert page.locator(".cx-map:visible").count() == 0, "this one is shown whole"
            page.click(".cx-reset")
        for grid in ("input", "output"):
            box = page.locator(f".cx-{grid} .cx-canvas").bounding_box()
            assert box and box["width"] <= width and box["height"] < 520
            assert page.locator(f".cx-{grid} .cx-map").is_visible()
            _inked(page, f".cx-{grid} .cx-map")
        page.locator(".cx-output .cx-map").click(position={"x": 40, "y": 40})
        row, column = _place(page)
        assert 100 < row < 240 and 100 < column < 240
        page.locator(".cx-input .cx-map").click(position={"x": 2, "y": 80})
        row, column = _place(page)
        assert row > 300 and column < 20
        page.focus(".cx-keys")
        for _ in range(30):
            page.keyboard.press("ArrowRight")
        assert _place(page) == (row, column + 30)
        page.select_option(".cx-speed select", "fast")
        page.click(".cx-play")
        until(page, rf"/column (\d+)/.exec(document.querySelector('.cx-step-text').textContent)[1] > {column + 33}")
        page.click(".cx-play")


@pytest.mark.parametrize(
    "problem",
    [
        replace(PLAIN, input_size=(1_000_000, 1), kernel_size=(1, 1), stride=(1000, 1), padding=(0, 0)),
        replace(PLAIN, input_size=(3000, 3000), kernel_size=(900, 900), padding=(0, 0)),
        replace(PLAIN, in_channels=1_000_000, out_channels=1_000_000, groups=1_000_000),
        replace(PLAIN, in_channels=999_983, out_channels=1, groups=999_983, kernel_size=(1, 1)),
        replace(PLAIN, input_size=(1, 1), kernel_size=(1, 1), padding=(0, 0)),
        replace(PLAIN, input_size=(1, 400), kernel_size=(1, 399), padding=(0, 300)),
        replace(PLAIN, input_size=(60, 60), kernel_size=(2, 2), dilation=(50, 40)),
    ],
)
def test_strange_layers(browser: Browser, tmp_path: Path, problem: Problem) -> None:
    with shown(browser, tmp_path, problem) as page:
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 900})
            page.click("[data-move=last]")
            page.click("[data-move=back]")
            _inked(page, ".cx-input .cx-canvas")
            until(page, f"document.documentElement.scrollWidth <= {width}")


def test_drawings_follow_the_theme(browser: Browser, tmp_path: Path) -> None:
    with shown(browser, tmp_path, PLAIN) as page:
        dark = """() => {
            const canvas = document.querySelector(".cx-input .cx-canvas");
            const data = (PIXELS)(canvas);
            let light = 0, all = 0;
            for (let at = 0; at < data.length; at += 4) {
              if (data[at + 3] < 200) continue;
              all += 1;
              if (data[at] + data[at + 1] + data[at + 2] > 600) light += 1;
            }
            return all > 0 && light / all > 0.2;
        }""".replace("PIXELS", _PIXELS)
        assert not page.evaluate(f"({dark})()")  # dark numbers on a transparent ground
        page.emulate_media(color_scheme="dark")
        until(page, f"({dark})()")
        page.emulate_media(color_scheme="light")
        until(page, f"!({dark})()")
        page.evaluate("document.documentElement.dataset.theme = 'dark'")
        until(page, f"({dark})()")


def test_a_screen_reader_is_told_the_step(browser: Browser, tmp_path: Path) -> None:
    with shown(browser, tmp_path, PLAIN) as page:
        until(page, "document.querySelector('.cx-live').textContent.includes('row 0, column 0')")
        # In one go, so that however busy the machine is, no time passes between the steps.
        told = page.evaluate(
            """() => {
                const keys = document.querySelector(".cx-keys");
                const told = [1, 2, 3].map(() => {
                    keys.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
                    return document.querySelector(".cx-live").textContent;
                });
                return [document.querySelector(".cx-step-text").textContent, ...told];
            }"""
        )
        assert "column 3" in told[0] and all("column 0" in each for each in told[1:])  # not every step on the way
        until(page, "document.querySelector('.cx-live').textContent.includes('row 0, column 3')")
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll("#explainer :is(input, select, button, canvas)")].filter((control) =>
                 control.ariaHidden !== "true" && !control.ariaLabel && !control.labels?.length
                 && !control.textContent.trim()).map((control) => control.outerHTML)"""
        )
        assert unnamed == []


def test_all_can_be_reached_by_keyboard(browser: Browser, tmp_path: Path) -> None:
    with shown(browser, tmp_path, PLAIN) as page:
        reached = set()
        for _ in range(60):
            page.keyboard.press("Tab")
            reached.add(
                page.evaluate(
                    """(() => { const at = document.activeElement;
                      return at.dataset.setting || at.dataset.move || at.dataset.channel || at.className; })()"""
                )
            )
        # A module that pads by itself is not drawn.
        settings = set(as_json(PLAIN)) - {"module_output_size"} | {"square", "unbatched"}
        assert settings | {"first", "back", "play", "forward", "last", "cx-progress", "cx-keys", "in", "out"} <= reached


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "Was it measured? No, and nothing like it in this run."),
        ({"label": "<b>x", "href": "#case=a", "same": True, "differs": ""}, "Was it measured? Yes: <b>x"),
        (
            {"label": "n1 c3", "href": "#case=b", "same": False, "differs": "kernel_size 3x3 instead of 5x5"},
            "Was it measured? No; the nearest case is n1 c3 (kernel_size 3x3 instead of 5x5)",
        ),
    ],
)
def test_was_it_measured(browser: Browser, tmp_path: Path, found: dict[str, object] | None, said: str) -> None:
    html = explain_page.render(Case(problem=PLAIN))
    script = scripts.joined("explain_main.js")
    with shown(browser, tmp_path, PLAIN) as page:
        assert page.locator(".cx-measured").is_hidden()  # alone, there is no run to look in
        page.goto("about:blank")
        page.set_content(re.sub(r"<meta http-equiv[^>]*>", "", html.replace(script, "")))
        page.evaluate(
            "([script, problem, found]) => { globalThis.asked = []; eval(script + `;mountExplainer("
            "document.getElementById('explainer'), {problem, execution: {direction: 'forward', dtype: 'float32'},"
            "measured: {nearest: (other) => { asked.push(other); return found; }}})`) }",
            [scripts.body("explainer.js"), as_json(PLAIN), found],
        )
        assert page.inner_text(".cx-measured") == said
        if found:
            assert page.get_attribute(".cx-measured a", "href") == found["href"]
        _set(page, "stride", 2, 0)
        assert page.evaluate("asked.at(-1)") == as_json(replace(PLAIN, stride=(2, 2)))


def test_without_scripts_the_words_are_there(browser: Browser, tmp_path: Path) -> None:
    case = Case(problem=REFUSED["both"], given_label="<script>alert(1)</script>")
    for each in (case, replace(case, problem=PLAIN)):
        file = tmp_path / "page.html"
        file.write_text(explain_page.render(each), encoding="utf-8")
        with opened(browser, file, width=390, scripts="off") as seen:
            explanation = words.explain(each)
            text = seen.page.inner_text("#words")
            assert explanation.summary in text
            for section in explanation.sections:
                assert "\n".join(section.lines) in (seen.page.text_content("#words") or "")
            assert seen.page.locator("#explainer").is_hidden()
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_words_are_those_of_the_text(browser: Browser) -> None:
    """The sentences that JavaScript writes for any setting are those that Python writes."""
    problems = some(7, 600)
    sound = [problem for problem in problems if problem.refusal() is None]
    page = browser.new_page()
    try:
        told = call(
            page,
            "explainer_words.js",
            "((p) => [constructorText(p), summaryText(p), ...[0, 1].map((axis) =>"
            " [formulaParts(p, axis).map(([part]) => part).join(''), axisNotes(p, axis)])])",
            [[as_json(problem)] for problem in sound],
        )
        refused = [problem for problem in problems if problem.refusal() is not None]
        ways = [(problem, way) for problem in refused for way in words.ways_out(Case(problem=problem))]
        told_ways = call(page, "explainer_words.js", "wayText", [[as_json(p), way] for p, way in ways])
    finally:
        page.close()
    for problem, (constructor, summary, *axes) in zip(sound, told, strict=True):
        case = Case(problem=problem)
        assert (constructor, summary) == (words.constructor_text(case), words.summary_text(case))
        assert axes == [[words.formula_text(problem, axis), words.axis_notes(problem, axis)] for axis in (0, 1)]
    assert told_ways == [
        " and ".join(
            f"{name} {words.value_text(value)} instead of {words.value_text(getattr(problem, name))}"
            for name, value in way.items()
        )
        for problem, way in ways
    ]


# The picture


def test_the_picture_is_convolved_as_torch_does(browser: Browser) -> None:
    import torch

    page = browser.new_page()
    (pixels,) = call(page, "explainer_picture.js", "picturePixels", [[]])
    picture = torch.tensor(pixels, dtype=torch.float64).reshape(1, 1, 96, 96)
    assert picture.min() >= 0 and picture.max() <= 1 and len(picture.unique()) > 100
    layers: list[dict[str, object]] = [
        {"kernel_size": (3, 3), "padding": (1, 1)},
        {"kernel_size": (5, 3), "stride": (2, 3), "padding": (0, 2), "padding_mode": PaddingMode.REFLECT},
        {"kernel_size": (3, 3), "dilation": (4, 2), "padding": PaddingWord.SAME},
        {"kernel_size": (4, 4), "padding": (3, 3), "padding_mode": PaddingMode.CIRCULAR},
        {"kernel_size": (1, 1), "stride": (2, 2)},
    ]
    for settings in layers:
        problem = replace(PLAIN, **{"padding": (0, 0), **settings})
        filters = call(page, "explainer_picture.js", "filtersOf", [[list(problem.kernel_size)]])[0]
        assert isinstance(filters, list) and len(filters) == (1 if problem.kernel_size == (1, 1) else 4)
        layer = torch.nn.Conv2d(
            1,
            1,
            problem.kernel_size,
            stride=problem.stride,
            padding=problem.padding if isinstance(problem.padding, tuple) else problem.padding.value,
            dilation=problem.dilation,
            padding_mode=problem.padding_mode.value,
            bias=False,
            dtype=torch.float64,
        )
        for each in filters:
            layer.weight.data = torch.tensor(each["weights"], dtype=torch.float64).reshape(layer.weight.shape)
            (found,) = call(page, "explainer_picture.js", "convolved", [[as_json(problem), each["weights"]]])
            assert isinstance(found, dict)
            expected = layer(picture)[0, 0].detach()
            assert found["size"] == list(expected.shape)
            assert found["values"] == pytest.approx(expected.flatten().tolist(), abs=1e-6)
    page.close()


def test_edges_give_edges_and_a_blur_none(browser: Browser) -> None:
    page = browser.new_page()
    found: Any = call(page, "explainer_picture.js", "filtersOf", [[[3, 3]], [[1, 7]]])
    filters = {each["name"]: each for each in found[0]}
    assert filters["edges across"]["weights"] == [-1, 0, 1, -2, 0, 2, -1, 0, 1]
    assert filters["edges down"]["weights"] == [-1, -2, -1, 0, 0, 0, 1, 2, 1]
    assert sum(filters["blur"]["weights"]) == pytest.approx(1) == sum(filters["sharpen"]["weights"])
    names = [each["name"] for each in found[1]]
    assert names == ["edges across", "blur", "sharpen"], "a row of taps sees no edge down"
    page.close()


@BOTH
def test_the_picture_follows_the_layer(browser: Browser, tmp_path: Path, scheme: str, width: int) -> None:
    with shown(browser, tmp_path, PLAIN, scheme=scheme, width=width) as page:
        grey = """(selector) => {
            const context = document.querySelector(selector).getContext("2d");
            return new Set(context.getImageData(20, 20, 60, 60).data).size;
        }"""
        assert page.evaluate(grey, ".cx-picture-input canvas") > 20
        assert page.evaluate(grey, ".cx-picture-result canvas") > 20
        before = page.evaluate("document.querySelector('.cx-picture-result canvas').toDataURL()")
        page.select_option(".cx-filter", "blur")
        assert page.evaluate("document.querySelector('.cx-picture-result canvas').toDataURL()") != before
        assert page.locator(".cx-picture-filter td").all_inner_texts() == ["0.11"] * 9
        page.fill("#cx-stride0", "2")
        assert page.inner_text(".cx-picture-result figcaption") == "result, 48 \u00d7 48"
        assert page.input_value(".cx-filter") == "blur", "the reader's filter stays"
        page.fill("#cx-kernel_size0", "300")
        page.fill("#cx-input_size0", "400")
        assert "No picture" in page.inner_text(".cx-picture-words") and not page.is_visible(".cx-pictures")
