"""Lock files: which one a checkout has, what installs it, and whether one environment serves two checkouts."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from convbench.actions.layouts import imported_from_checkout
from convbench.engine.commands import Command
from convbench.errors import RequestError

#: The text of a file of a checkout by its name, None where there is none.
Files = Callable[[str], str | None]

#: The lock files, the first one that is there counts.
LOCKS = ("uv.lock", "poetry.lock", "pylock.toml", "requirements.lock", "requirements.txt", "constraints.txt")
#: Those whose installation installs the project itself too, from its checkout.
_WITH_PROJECT = ("uv.lock", "poetry.lock", "constraints.txt")
#: What such an installation reads beside the lock file.
_PROJECT = ("pyproject.toml", "setup.cfg", "setup.py")
#: Build requirements of a project that is not compiled; any other may compile something.
_PLAIN_BUILDS = re.compile(
    r"(setuptools|setuptools[-_]scm|wheel|hatchling|hatch-vcs|flit[-_]core|poetry[-_]core|uv[-_]build|pdm[-_]backend)\b"
)
#: What names a file or folder of the checkout in the locks of tools, whose contents the lock file does not say.
_LOCAL = re.compile(
    r"\bfile:|\b(path|directory|editable|virtual) *= *\"|\bregistry *= *\"(?!https?:)|\btype *= *\"(directory|file)\""
)
#: A comment of a list of requirements, and the lines of one that certainly name no file: a package, or an option.
_COMMENT = re.compile(r"(^|\s)#.*", re.MULTILINE)
_NOT_LOCAL = re.compile(
    r"\\?$|--(hash|pre|prefer-binary|only-binary|no-binary|require-hashes|no-index|trusted-host)\b"
    r"|-[\w-]+[ =]*https?:"
    r"|(?![^\s@]+\.(whl|zip|tgz|tar(\.\w+)?)(\s|$))\w[\w.-]*\s*(\[[^]]*\]\s*)?([;=<>!~(\\]|--hash|$|@\s*(git\+)?(https?|ssh):)"
)


def files_in(folder: Path) -> Files:
    """The files of a folder."""

    def read(name: str) -> str | None:
        path = folder / name
        return path.read_text(encoding="utf-8", errors="backslashreplace") if path.is_file() else None

    return read


def lock_of(files: Files, where: str) -> str:
    """The name of the lock file; RequestError without one, since two sides would get the newest packages."""
    for name in LOCKS:
        if files(name) is not None:
            return name
    raise RequestError(
        f"{where} has no lock file: expected {', '.join(LOCKS[:-1])} or {LOCKS[-1]}",
        hint="without one, a side would get the newest packages; `pip freeze > requirements.txt` makes one",
    )


def why_separate(base: Files, head: Files) -> str | None:
    """Why two checkouts need an environment each; None where the same packages serve both.

    A worker imports the modules of its own side before those of the environment, so that Python code may differ.
    """
    lock = lock_of(base, "the base")
    text = base(lock) or ""
    if lock_of(head, "the head") != lock or head(lock) != text:
        return f"the lock file differs ({lock})"
    if _names_files(lock, text):
        return f"{lock} names files of the checkout"
    if lock in _WITH_PROJECT and not (lock == "uv.lock" and 'virtual = "."' in text):
        for name in _PROJECT:
            if base(name) != head(name):
                return f"{name} differs"
        try:
            tables = tomllib.loads(base("pyproject.toml") or "")
        except tomllib.TOMLDecodeError:
            return "pyproject.toml is no TOML"
        if base("setup.py") is not None or _compiles(tables):
            return "the project may compile code"
        if not (imported_from_checkout(base, tables) and imported_from_checkout(head, tables)):
            return "the project's package may lie outside the root and src"  # both sides would import the base's
    return None


def _names_files(lock: str, text: str) -> bool:
    if lock in ("uv.lock", "poetry.lock", "pylock.toml"):  # in uv's, a dot alone is the project itself
        return _LOCAL.search(text.replace('"."', "") if lock == "uv.lock" else text) is not None
    lines = _COMMENT.sub("", text).splitlines()
    return "file:" in text or not all(_NOT_LOCAL.match(line.strip()) for line in lines)


def _compiles(tables: Mapping[str, Any]) -> bool:
    tools = tables.get("tool", {})
    declared = "ext-modules" in tools.get("setuptools", {}) or "build" in tools.get("poetry", {})
    hooks = "hooks" in tools.get("hatch", {}).get("build", {})
    needed = tables.get("build-system", {}).get("requires", [])
    return declared or hooks or not all(_PLAIN_BUILDS.match(str(each)) for each in needed)


def installing(lock: str, checkout: Path, environment: Path, tools: Path) -> tuple[Command, ...]:
    """The commands that make an environment with the packages in a checkout's lock file.

    uv and poetry install their own lock files. Where they are not on the path, the environment `tools` gets them. Paths
    in lock files are relative to the checkout.
    """
    python = str(environment / "bin" / "python")

    def here(*words: str, **variables: str) -> Command:
        return Command(words=words, folder=checkout, variables=tuple(variables.items()))

    made = here(sys.executable, "-m", "venv", str(environment))
    if lock == "uv.lock":
        got, uv = _tool("uv", checkout, tools)
        return (*got, made, here(uv, "sync", "--frozen", "--inexact", UV_PROJECT_ENVIRONMENT=str(environment)))
    if lock == "poetry.lock":
        got, poetry = _tool("poetry", checkout, tools)
        return (*got, made, here(poetry, "install", "--no-interaction", VIRTUAL_ENV=str(environment)))
    install = (python, "-m", "pip", "install")
    if lock == "pylock.toml":  # an old pip cannot read it
        return (made, here(*install, "--quiet", "--upgrade", "pip"), here(*install, "--requirement", lock))
    if lock == "constraints.txt":
        return (made, here(*install, "--constraint", lock, "--editable", "."))
    return (made, here(*install, "--requirement", lock))


def _tool(name: str, folder: Path, tools: Path) -> tuple[tuple[Command, ...], str]:
    """The commands that get a program, and its path."""
    found = shutil.which(name)
    if found is not None:
        return (), found
    commands = ((sys.executable, "-m", "venv", str(tools)), (str(tools / "bin/python"), "-m", "pip", "install", name))
    return tuple(Command(words=words, folder=folder) for words in commands), str(tools / "bin" / name)
