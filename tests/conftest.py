"""What holds for all tests: no deadline, since the machine is shared; Ctrl-C works. The fixtures of several rooms."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from collections import Counter

import pytest
from accelerators import accelerator as accelerator
from browser import browser as browser
from commands import command as command
from hypothesis import settings
from kept_forks import kept_forks as kept_forks
from postgres import running_server as running_server

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

# A shell that is not interactive starts background jobs with SIGINT ignored, and what they start inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Runs of one machine take turns. Processes of pytest do not: each has a folder of its own for the locks.
_LOCKS = tempfile.mkdtemp(prefix="convbench-locks-")
os.environ["CONVBENCH_LOCKS"] = _LOCKS
atexit.register(shutil.rmtree, _LOCKS, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files with most slow tests come first, so that no process is left with one of them at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])
