"""Starts `convbench serve` in a process of its own, for the other scripts here."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serving(folder: Path, *options: str, log: Path | None = None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address and the process of a service on `runs.db` in this folder; it ends with the block.

    Its log goes to the end of the file `log`. A pipe that nobody reads would stop the service.
    """
    with (log or Path("/dev/null")).open("a") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "convbench", "serve", "--port", "0", "--db", str(folder / "runs.db"), *options],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
    try:
        assert process.stdout is not None
        found = re.search(r"http://[^/]+", process.stdout.readline())
        assert found is not None, "the service did not start"
        yield found[0], process
    finally:
        process.terminate()
        process.wait()
