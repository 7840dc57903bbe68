"""Handles SIGTERM like Ctrl-C, and the end of the service that started this process."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

#: The variable in which a service gives its process id to a command that measures for it.
PARENT = "CONVBENCH_PARENT"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def interrupted_with_parent() -> None:
    """Have the kernel interrupt this process when the service that started it ends, as Ctrl-C does (Linux).

    A service that is killed then leaves an interrupted run, with which the next one goes on. Without this the run might
    end meanwhile, and be measured a second time.
    """
    parent = os.environ.pop(PARENT, "")
    if not parent.isdecimal():
        return
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
    if os.getppid() != int(parent):
        raise KeyboardInterrupt


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM, which systems and CI send: results are kept as on Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
