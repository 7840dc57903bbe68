"""Measures how fast convolution layers run, and says whether one can trust the answer.

    import convbench
    run = convbench.run("configs/quick.yaml")
    run.frame()          # a pandas DataFrame, one row per case

This module stays light and keeps to Python 3.9 syntax: workers import it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convbench.api import load, run

__version__ = "0.1.0"
__all__ = ["__version__", "load", "run"]


def __getattr__(name: str) -> object:
    if name in ("load", "run"):
        from convbench import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
