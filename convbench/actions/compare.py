"""Compares two runs from a database or from exports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convbench import sweep as sweeps
from convbench.model.result import Run

if TYPE_CHECKING:
    from convbench.analysis.comparison.judgment import RunComparison

from convbench.actions.read import LATEST, run_of


def compare(base: str, new: str = LATEST, *, db: str | None = None, across_environments: bool = False) -> RunComparison:
    """Compare the runs `base` and `new`, each named as for `load`. Returns the comparison and both runs without checks.

    The new run's sweep gives the thresholds. Layers of networks that have no equal one are matched by their labels.
    Raises NotComparableError where the runs have neither a case nor a label in common. Different environments raise it
    too, unless `across_environments`.
    """
    from convbench.analysis.comparison import comparison
    from convbench.analysis.comparison.comparability import refuse
    from convbench.analysis.comparison.judgment import RunComparison
    from convbench.analysis.comparison.networks import with_networks

    before, after = baseline(base, db=db), run_of(new, db=db, checks=False)
    found = comparison.compare(before, after, sweeps.thresholds(after))
    if not across_environments:
        refuse(before, after, found.differences)
    found = with_networks(found, before, after)
    return RunComparison(comparison=found, base=before, new=after)


def baseline(ref: str, *, db: str | None = None) -> Run:
    """The run to compare with, named as for `load`. The results of checks, which no comparison needs, are not read."""
    return run_of(ref, db=db, checks=False)
