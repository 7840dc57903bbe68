"""Saves a picture of a run's report as SVG or PNG. A headless browser draws it, as it does for a reader.

It needs the extra `picture` (playwright), and a Chromium or Chrome.
"""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlencode

from convbench.errors import RequestError
from convbench.model.nearest import did_you_mean
from convbench.model.result import Run

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: Each picture -> the choice in it that `--setting` sets; "" where it has none.
PICTURES = {
    "ratio": "axis",
    "network": "",
    "explore": "x",
    "heat": "x",
    "sides": "axis",
    "roofline": "colour",
    "ranking": "colour",
    "noise": "",
}
FORMATS = ("svg", "png")

#: Names of the browser on PATH; without one, playwright takes the one that it has installed itself.
_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
#: Playwright's name for a screen of 1280x720 pixels, on which pictures have their full size.
_DEVICE = "Desktop Chrome"
_TIMEOUT_MS = 120_000


def format_of(path: Path) -> str:
    """The format that a file's name asks for; raises RequestError for any other than those of `FORMATS`."""
    form = path.suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise RequestError(f"cannot save a picture as {path.name}", hint="name a file that ends in .svg or .png")
    return form


def check_picture(of: str, setting: str | None) -> None:
    """Raise RequestError for a picture that does not exist, or one that does not choose a setting."""
    if of not in PICTURES:
        known = f"known are {', '.join(PICTURES)}"
        raise RequestError(f"there is no picture {of!r}", hint=did_you_mean(of, tuple(PICTURES)) or known)
    if setting is not None and not PICTURES[of]:
        raise RequestError(f"the picture {of} has no setting to choose", hint="leave out --setting")


def picture(run: Run, of: str, *, setting: str | None = None, form: str = "svg") -> bytes:
    """The picture `of` a run, set to `setting`, as an SVG or a PNG file.

    Raises RequestError where the run has no such picture, and where no browser can draw it.
    """
    from convbench.report.pages import run as page

    check_picture(of, setting)
    view = urlencode({f"{of}.{PICTURES[of]}": setting}) if setting else ""
    with tempfile.TemporaryDirectory(prefix="convbench-") as folder:
        file = Path(folder) / "report.html"
        file.write_text(page.render(run), encoding="utf-8")
        with _opened(f"{file.as_uri()}#{view}") as shown:
            return _saved(shown, of, setting, form)


@contextmanager
def _opened(url: str) -> Iterator[Page]:
    """The page in a headless browser, its scripts done."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise RequestError("saving a picture needs playwright", hint="pip install 'convbench[picture]'") from None
    found = next((path for path in map(shutil.which, _BROWSERS) if path), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=found)
        except Error as error:
            reason = error.message.splitlines()[0]
            hint = "install Chromium or Chrome, or run: playwright install chromium"
            raise RequestError(f"no browser could be started: {reason}", hint=hint) from None
        try:
            shown = browser.new_page(**playwright.devices[_DEVICE], color_scheme="light")
            shown.set_default_timeout(_TIMEOUT_MS)
            shown.goto(url)
            shown.wait_for_selector("html[data-ready]")
            yield shown
        except Error as error:
            raise RequestError(f"the browser could not draw the picture: {error.message.splitlines()[0]}") from None
        finally:
            browser.close()


def _saved(shown: Page, of: str, setting: str | None, form: str) -> bytes:
    figure = shown.locator(f"#picture-{of}")
    if not figure.count() or not figure.is_visible():
        names = shown.locator("[data-picture]:not([hidden])").evaluate_all(
            "figures => figures.map((figure) => figure.dataset.picture)"
        )
        raise RequestError(
            f"this run has no picture {of}", hint=f"it has {', '.join(names)}" if names else "it has no pictures"
        )
    if setting is not None:
        select = figure.locator(f"select[name='{of}.{PICTURES[of]}']")
        if select.input_value() != setting:
            options = [name for name in select.locator("option").evaluate_all("all => all.map((o) => o.value)") if name]
            raise RequestError(f"the picture {of} cannot show {setting!r}", hint=f"it can show {', '.join(options)}")
    figure.evaluate("(figure) => figure.scrollIntoView()")
    shown.wait_for_selector(f"#picture-{of}[data-drawn]")
    head, _, content = str(figure.locator(".plot").evaluate("(plot, form) => plot.image(form)", form)).partition(",")
    return base64.b64decode(content) if head.endswith("base64") else unquote(content).encode()
