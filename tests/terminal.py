"""Runs the command on a terminal, which is what a pseudo-terminal is to it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from processes import environment

#: What moves the cursor or chooses a colour.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(
    folder: Path,
    *arguments: str,
    columns: int = 60,
    seen: Callable[[str, int], None] = lambda text, pid: None,
    **more: str,
) -> tuple[int, str]:
    """The exit code, and what a terminal of so many columns gets; `seen` is called with that so far and the process."""
    ours, theirs = pty.openpty()
    variables = {**environment(), "COLUMNS": str(columns), "TERM": "xterm-256color", **more}
    command = [sys.executable, "-m", "convbench", *arguments]
    process = subprocess.Popen(
        command, cwd=folder, env=variables, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    text, end = "", time.monotonic() + 200
    while time.monotonic() < end:
        if not select.select([ours], [], [], 1.0)[0]:
            continue
        try:
            got = os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            break
        text += got.decode(errors="replace")
        seen(text, process.pid)
    os.close(ours)
    return process.wait(timeout=60), text.replace("\r\n", "\n")
