"""Headless Chromium for tests of pages: one browser a session, skipped with the remedy where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
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
REMEDY = "apt-get install chromium, or .venv/bin/playwright install chromium"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A running Chromium. Without one the test is skipped, but fails where CI is set."""
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    with sync_playwright() as playwright:
        try:
            running = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        except Error as error:
            reason = f"no browser could be started ({str(error).splitlines()[0]}); to enable this test: {REMEDY}"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        yield running
        running.close()


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A page, and what it did that it should not: messages on its console, errors, requests beyond its own file."""

    page: Page
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def opened(
    browser: Browser, file: Path, *, width: int = 1440, scheme: str = "light", scripts: str = "on"
) -> Iterator[Opened]:
    """The file opened from disk as a reader would."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        java_script_enabled=scripts == "on",
    )
    seen = Opened(page=context.new_page())
    seen.page.on("console", lambda message: seen.console.append(f"{message.type}: {message.text}"))
    seen.page.on("pageerror", lambda error: seen.console.append(str(error)))
    seen.page.on("request", lambda request: seen.requests.append(request.url))
    seen.page.goto(file.as_uri())
    try:
        yield seen
    finally:
        context.close()
