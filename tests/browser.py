"""Headless Chromium for tests of pages: one browser a session, skipped with the remedy where there is none.

`python -m tests.browser` ends with 0 where a browser starts, else says why not.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from missing import give_up
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
#: Nothing that the browser does of its own accord may look like a request of the page.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: How long the browser waits for a page, an element or an event before a test fails, in milliseconds: on a busy machine
#: playwright's own 30 s are too few.
PATIENCE_MS = 90_000
#: A page draws what is out of view (`drawRest`) when the browser is idle, and what is 400 pixels away at once. That
#: takes most of its time, so a test asks for it.
_BUSY = """{
    const Watch = window.IntersectionObserver;
    window.IntersectionObserver = class extends Watch {
        constructor(then, options) { super(then, { ...options, rootMargin: "0px" }); }
    };
    const [waiting, idle] = [[], window.requestIdleCallback];
    window.requestIdleCallback = (then, options) =>
        new Error().stack.includes("drawRest") ? waiting.push(then) : idle(then, options);
    window.becomeIdle = () => {
        window.requestIdleCallback = idle;
        waiting.splice(0).forEach((then) => idle(then));
    };
}"""
Waiting = TypeVar("Waiting", BrowserContext, Page)
REMEDY = "apt-get install chromium, or .venv/bin/playwright install chromium"


class NoBrowserError(Exception):
    """No browser could be started; the message says why."""


@contextmanager
def started() -> Iterator[Browser]:
    """A running Chromium: Debian's, or the one that playwright downloads itself. Raises NoBrowserError."""
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    with sync_playwright() as playwright:
        try:
            running = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        except Error as error:
            raise NoBrowserError(f"no browser could be started ({str(error).splitlines()[0]})") from None
        for name in ("new_context", "new_page"):
            setattr(running, name, _patient(getattr(running, name)))
        yield running
        running.close()


def _patient(make: Callable[..., Waiting]) -> Callable[..., Waiting]:
    """What makes a context or a page, so that it waits PATIENCE_MS for whatever a test waits for."""

    def made(**settings: Any) -> Waiting:
        waiting = make(**settings)
        waiting.set_default_timeout(PATIENCE_MS)  # of navigations too
        return waiting

    return made


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A running Chromium. Without one the test is skipped, but fails where CI is set."""
    try:
        with started() as running:
            yield running
    except NoBrowserError as error:
        give_up(str(error), REMEDY)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A page, and what it did that it should not: messages on its console, errors, requests beyond its own file."""

    page: Page
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def opened(
    browser: Browser,
    file: Path,
    *,
    width: int = 1440,
    scheme: str = "light",
    scripts: str = "on",
    view: str = "",
    draws: str = "near",
    motion: str = "reduce",
) -> Iterator[Opened]:
    """The file opened from disk as a reader would, at a link's `view`; what is out of view is left to all_drawn.

    The reader wants no motion: a page that scrolls smoothly draws each picture on the way.
    """
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce" if motion == "reduce" else "no-preference",
        java_script_enabled=scripts == "on",
    )
    seen = Opened(page=context.new_page())
    if draws == "near":
        seen.page.add_init_script(_BUSY)
    seen.page.on("console", lambda message: seen.console.append(f"{message.type}: {message.text}"))
    seen.page.on("pageerror", lambda error: seen.console.append(str(error)))
    seen.page.on("request", lambda request: seen.requests.append(request.url))
    seen.page.goto(file.as_uri() + (f"#{view}" if view else ""))
    try:
        yield seen
    finally:
        context.close()


def until(page: Page, expression: str, argument: object = None) -> None:
    """Wait until the page says yes; the browser's own waiting would need `eval`, which the page's policy refuses."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while not page.evaluate(expression, argument):
        assert time.monotonic() < deadline, f"waited in vain for {expression}"
        page.wait_for_timeout(30)


def all_drawn(page: Page) -> None:
    """Wait until every picture is drawn, those out of view too."""
    page.evaluate("window.becomeIdle?.()")
    until(page, "[...document.querySelectorAll('[data-picture]:not([hidden])')].every((each) => each.dataset.drawn)")


@contextmanager
def ready(browser: Browser, file: Path, view: str = "", **settings: object) -> Iterator[Page]:
    """The page with its scripts done; at the end it has complained of nothing and asked for nothing but itself."""
    with opened(browser, file, view=view, **settings) as seen:
        seen.page.wait_for_selector("html[data-ready]")
        yield seen.page
        assert seen.console == []
        own = file.as_uri()
        assert [url for url in seen.requests if url.partition("#")[0] != own and not url.startswith("blob:")] == []


def cases_shown(page: Page) -> int:
    """How many cases the table's line of information counts."""
    found = re.search(r"of ([\d,]+) cases|no cases", page.locator(".dt-info").inner_text())
    assert found is not None
    return int((found[1] or "0").replace(",", ""))


if __name__ == "__main__":
    try:
        with started():
            pass
    except NoBrowserError as error:
        sys.exit(str(error))
