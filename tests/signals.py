"""SIGTERM for tests of this process: it never ends the tests, and arrives while an environment is built."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from convbench.engine.commands import Command


@contextmanager
def harmless_sigterm() -> Iterator[None]:
    """A signal that nobody handles does nothing."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def stopped_at_venv(run: Callable[[Command], int]) -> Callable[[Command], int]:
    """A way to run commands in which SIGTERM arrives instead of a new environment."""

    def running(self: Command) -> int:
        if "venv" not in self.words:
            return run(self)
        os.kill(os.getpid(), signal.SIGTERM)
        return 1

    return running
