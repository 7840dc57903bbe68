"""The report's own JavaScript as one script: ES modules from static/, joined in the order of their imports. Pure.

A page opened from disk may not load modules from files, and the content security policy allows a script by its hash.
So the modules become one script. They share one scope, so no two of them may define the same name; a test checks this.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

STATIC = Path(__file__).parent / "static"

_IMPORT = re.compile(r'^import\s*\{[^}]*\}\s*from\s*"\./([\w.]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?function|const|class)", re.MULTILINE)


@cache
def joined(entry: str) -> str:
    """The module `entry` and all it imports as one classic script that defines no globals."""
    return "(() => {\n'use strict';\n" + body(entry) + "})();\n"


@cache
def body(entry: str) -> str:
    """The module `entry` and all it imports, imported modules first, without import and export words."""
    return "".join(_EXPORT.sub("", _IMPORT.sub("", static(name))) for name in modules(entry))


def modules(entry: str) -> tuple[str, ...]:
    """The modules that `entry` needs, itself last, each after what it imports."""
    found: dict[str, None] = {}

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name not in found and name not in above:  # modules may import each other: functions are hoisted
            for needed in _IMPORT.findall(static(name)):
                visit(needed, (*above, name))
            found[name] = None

    visit(entry, ())
    return tuple(found)


@cache
def static(name: str) -> str:
    """The text of a file in static/."""
    return (STATIC / name).read_text(encoding="utf-8")
