"""The page's scripts: modules that fit into one scope, joined in the order of their imports."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from convbench.report.pages import scripts

ENTRIES = ("main.js", "explain_main.js", "comparison_main.js", "index_main.js", "campaign_main.js", "service_main.js")


@pytest.mark.parametrize("entry", ENTRIES)
def test_no_two_modules_define_the_same_name(entry: str) -> None:
    defined: Counter[str] = Counter()
    for name in scripts.modules(entry):
        text = scripts.static(name)
        defined.update(re.findall(r"^(?:export )?(?:async )?(?:function|const|let|class) (\w+)", text, re.MULTILINE))
    assert defined.most_common(1)[0][1] == 1, defined.most_common(3)


@pytest.mark.parametrize("entry", ENTRIES)
def test_what_is_joined_is_a_script_and_no_module(entry: str) -> None:
    text = scripts.joined(entry)
    assert not re.search(r"^(import|export)\b", text, re.MULTILINE)
    assert text.startswith("(() => {\n'use strict';\n") and text.endswith("})();\n")


def test_a_module_stands_behind_what_it_imports() -> None:
    order = scripts.modules("main.js")
    for name in order:
        needed = re.findall(r'from "\./([\w.]+)"', scripts.static(name))
        assert all(order.index(other) < order.index(name) for other in needed), name


def test_every_module_is_used() -> None:
    used = {name for entry in ENTRIES for name in scripts.modules(entry)}
    assert used == {path.name for path in scripts.STATIC.glob("*.js")}
