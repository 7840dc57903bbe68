"""Engines of one file of tests share the processes that fork workers: importing torch takes 1.5 s of a processor.

For tests that run the command or a pool in this process and do not look at how workers start. The processes stay until
the session ends; workers end with their pool as ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from convbench.engine import local
from convbench.engine.forks import ForkServer

#: How many are kept, each with torch in memory; engines themselves keep four.
MOST_KEPT = 4
_kept: dict[tuple[str, frozenset[tuple[str, str]]], _Kept] = {}


class _Kept(ForkServer):
    """One that its engine cannot close."""

    def __init__(self, python: str, environment: Mapping[str, str]) -> None:
        super().__init__(python, environment)
        self.end, self.close = self.close, lambda: None


def _server(python: str, environment: Mapping[str, str]) -> ForkServer:
    """The process with these variables, whichever test is running; started where none is usable."""
    variables = {name: value for name, value in environment.items() if name != "PYTEST_CURRENT_TEST"}
    key = (python, frozenset(variables.items()))
    server = _kept.pop(key, None)
    if server is None or not server.is_usable:
        for old in [old for old, other in _kept.items() if other.is_idle][: max(0, len(_kept) + 1 - MOST_KEPT)]:
            _kept.pop(old).end()
        server = _Kept(python, variables)
    _kept[key] = server
    return server


@pytest.fixture(scope="module")
def kept_forks() -> Iterator[None]:
    """Engines that are made while this fixture is there share their processes."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(local, "ForkServer", _server)
        yield
