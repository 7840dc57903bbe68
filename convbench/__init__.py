"""Measures how fast convolution layers run, and reports how reliable each result is.

    import convbench
    run = convbench.run("configs/quick.yaml")
    run.frame()          # a pandas DataFrame, one row per case
    convbench.compare("main", run.id).comparison.verdict

Workers import this module too: it keeps to Python 3.9 syntax and imports little.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from convbench.version import __version__

if TYPE_CHECKING:
    from convbench.api import (
        ab,
        campaign,
        capture,
        compare,
        connect,
        fleet_resume,
        fleet_run,
        history,
        load,
        machines,
        run,
        run_against,
    )
    from convbench.engine.local import Setup

_VERBS = (
    *("ab", "campaign", "capture", "compare", "connect", "fleet_resume", "fleet_run"),
    *("history", "load", "machines", "run", "run_against"),
)
__all__ = [
    "Setup",
    "__version__",
    "ab",
    "campaign",
    "capture",
    "compare",
    "connect",
    "fleet_resume",
    "fleet_run",
    "history",
    "load",
    "machines",
    "run",
    "run_against",
]

_MODULES = {
    "Setup": "convbench.engine.local",
    **dict.fromkeys(_VERBS, "convbench.api"),
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
