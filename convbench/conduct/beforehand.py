"""What makes a comparison impossible and is known before anything is measured: another machine, other cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from convbench.analysis.comparison import comparison
from convbench.analysis.comparison.comparability import differences, refuse
from convbench.errors import NotComparableError
from convbench.model.case import Case
from convbench.model.result import NO_FACTS, Result, Run, Status, StopReason


def refuse_base(base: Run, new: Run, cases: Sequence[Case], *, across_environments: bool) -> None:
    """Raise the error with which the comparison of `base` with `new` would end, if it is certain already.

    `new` has no results yet; it is going to measure `cases`.
    """
    before = {result.case: result for result in base.results}
    if not any(case in before for case in cases):
        comparison.compare(base, replace(new, unmeasured=tuple(cases)))  # raises where no case is in common
    pairs = [(before[case], _to_come(case)) for case in cases if case in before]
    if not across_environments:
        refuse(base, new, differences(base, new, pairs))


def refuse_processor(base: Run, cpu: str) -> None:
    """Raise NotComparableError where the base ran on another processor than `cpu`: no worker is needed to know it."""
    if base.environment.cpu != cpu:
        raise NotComparableError(
            f"{base.id} is not comparable with a run here: processor {base.environment.cpu} -> {cpu}",
            hint="--across-environments compares them anyway",
        )


def _to_come(case: Case) -> Result:
    """The result of a case that is not measured yet: what torch makes of its settings is unknown."""
    return Result(
        case=case, status=Status.PASSED, reason=None, facts=NO_FACTS, stop_reason=StopReason.UNFINISHED, blocks=()
    )
