"""Reads sweeps: YAML text -> Sweep -> cases and rejections."""

from convbench.sweep.expand import Plan, case_of, cases, notes
from convbench.sweep.parse import KINDS, Sweep, load, of_run, thresholds

__all__ = ["KINDS", "Plan", "Sweep", "case_of", "cases", "load", "notes", "of_run", "thresholds"]
