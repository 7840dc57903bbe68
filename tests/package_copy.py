"""Runs a script with a copy of the package to which a developer has added something."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import convbench

TESTS = Path(__file__).parent


def run(script: str, *arguments: str, added: Sequence[tuple[str, str, str]], folder: Path) -> str:
    """What the script prints; `added` are (file, what stands behind the new text there, the text)."""
    package = folder / "added" / "convbench"
    shutil.copytree(Path(convbench.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, anchor, text in added:
        source = (package / name).read_text(encoding="utf-8")
        assert source.count(anchor) == 1, f"{name}: {anchor!r}"
        (package / name).write_text(source.replace(anchor, text + anchor), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(package.parent), str(TESTS)))}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout
