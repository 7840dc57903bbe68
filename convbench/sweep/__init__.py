"""Reads sweeps: YAML text -> Sweep -> cases and rejections."""

from convbench.sweep.expand import Plan, cases, notes, points
from convbench.sweep.options import case_of, sweep_of, values_of
from convbench.sweep.parse import KINDS, LeftOut, Sweep, load, of_run, thresholds

__all__ = [
    "KINDS",
    "LeftOut",
    "Plan",
    "Sweep",
    "case_of",
    "cases",
    "load",
    "notes",
    "of_run",
    "points",
    "sweep_of",
    "thresholds",
    "values_of",
]
