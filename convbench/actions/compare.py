"""Compares two runs that are stored or exported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convbench import sweep as sweeps
from convbench.errors import NotComparableError, RunNotFoundError
from convbench.model.result import Run

if TYPE_CHECKING:
    from convbench.analysis.comparison.judgment import RunComparison

from convbench.actions.read import LATEST, run_of


def compare(base: str, new: str = LATEST, *, db: str | None = None, across_environments: bool = False) -> RunComparison:
    """What changed from the run `base` to the run `new`, each named as for `load`; with both runs, without checks.

    What counts as a change is said by the new run's sweep. Raises NotComparableError where there is no such baseline,
    where the runs have no case in common, or where they were measured on environments that differ, unless
    `across_environments`.
    """
    from convbench.analysis.comparison import comparison
    from convbench.analysis.comparison.comparability import refuse
    from convbench.analysis.comparison.judgment import RunComparison

    before, after = baseline(base, db=db), run_of(new, db=db, checks=False)
    found = comparison.compare(before, after, sweeps.thresholds(after))
    if not across_environments:
        refuse(before, after, found.differences)
    return RunComparison(comparison=found, base=before, new=after)


def baseline(ref: str, *, db: str | None = None) -> Run:
    """The run to compare with, named as for `load`; raises NotComparableError where there is none.

    Times are compared, and how cases ended: what its checks found is not read.
    """
    try:
        return run_of(ref, db=db, checks=False)
    except RunNotFoundError as error:
        raise NotComparableError(f"no such baseline: {error.message}", hint=error.hint) from None
