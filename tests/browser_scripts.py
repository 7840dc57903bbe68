"""The report's JavaScript called from Python: functions of modules in report/pages/static, run in a real browser."""

from __future__ import annotations

import json

from playwright.sync_api import Page

from convbench.report.pages import scripts


def call(page: Page, module: str, function: str, arguments: list[list[object]]) -> list[object]:
    """What `function` of `module` returns for each list of arguments; arguments and results travel as JSON."""
    text = f"(() => {{ {scripts.body(module)}; return {json.dumps(arguments)}.map((each) => {function}(...each)); }})()"
    found: list[object] = page.evaluate(text)
    return found
