"""Where a project's package lies: whether a checkout's own folders certainly import it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

#: Folders that `ci pull-request` gives a side as --a-path or --b-path, from the root of the checkout.
_ROOTS = ("", "src/")
#: Settings of build backends that move packages or choose files. Their values must name only the usual places.
_MOVES = {"packages", "package-dir", "py-modules", "from", "where", "module-root", "dev-mode-dirs", "only-include"}
#: Settings that copy or rename files: after them, nothing is sure.
_RENAMES = {"sources", "force-include", "to", "dev-mode-exact"}
#: The tables of build backends below `tool`.
_BACKENDS = ("setuptools", "poetry", "hatch", "flit", "pdm", "uv")


def imported_from_checkout(files: Callable[[str], str | None], pyproject: Mapping[str, Any]) -> bool:
    """Whether the package of the project certainly lies in the checkout's root or in its folder `src`.

    It does where the project and its package have the same name, and no setting of its build moves a package.
    """
    tools = pyproject.get("tool", {})
    name = pyproject.get("project", {}).get("name") or tools.get("poetry", {}).get("name")
    if not isinstance(name, str) or "[options" in (files("setup.cfg") or ""):
        return False
    package = re.sub(r"[-.]+", "_", name)
    there = (f"{root}{package}{end}" for root in _ROOTS for end in ("/__init__.py", ".py"))
    usual = {"", "src", package, f"src/{package}"}
    settings = [each for backend in _BACKENDS for each in _settings(tools.get(backend))]
    moved = any(key in _RENAMES or text.strip("./*") not in usual for key, text in settings)
    return not moved and any(files(path) is not None for path in there)


def _settings(table: object, under: str = "") -> Iterator[tuple[str, str]]:
    """The settings of a table, and of tables in it, that say where packages lie: name and text."""
    if isinstance(table, Mapping):
        for key, value in table.items():
            yield from _settings(value, key if key in _MOVES | _RENAMES else under)
    elif isinstance(table, list):
        for each in table:
            yield from _settings(each, under)
    elif under:
        yield under, str(table)
