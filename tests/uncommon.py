"""Comparisons of a kind that is seldom, by name."""

from __future__ import annotations

from dataclasses import replace

import synthetic
import two_runs

from convbench.analysis.comparison.comparison import compare
from convbench.analysis.comparison.judgment import RunComparison
from convbench.model.result import RunState, Status


def exact(ratios: list[float], statuses: list[Status] | None = None, **about: object) -> RunComparison:
    """Two runs without any noise whose cases changed by these ratios."""
    cases = synthetic.cases(len(ratios))
    base = replace(
        synthetic.empty_run(),
        results=tuple(synthetic.result(case, made=synthetic.blocks(1e-3, noise=0.0, seed=1)) for case in cases),
    )
    new = replace(
        base,
        id=two_runs.NEW,
        results=tuple(
            synthetic.result(case, made=synthetic.blocks(1e-3 * ratio, noise=0.0, seed=1), status=status, reason="why")
            for case, ratio, status in zip(cases, ratios, statuses or [Status.PASSED] * len(cases), strict=True)
        ),
    )
    comparison = compare(base, new)
    return RunComparison(comparison=replace(comparison, **about), base=base, new=new)


def _nothing_timed() -> RunComparison:
    base, new = two_runs.runs(8, troubles=False)
    lost = tuple(replace(r, status=Status.CRASHED, reason="gone", blocks=()) for r in new.results)
    new = replace(new, results=lost)
    return RunComparison(comparison=compare(base, new), base=base, new=new)


def _not_reached() -> RunComparison:
    base, new = two_runs.runs(8, troubles=False)
    waiting = tuple(result.case for result in new.results)
    new = replace(new, results=(), unmeasured=waiting, state=RunState.RUNNING, finished_at=None)
    return RunComparison(comparison=compare(base, new), base=base, new=new)


def _nan_everywhere() -> RunComparison:
    """Blocks that hold no number: a floor of nothing."""
    base, new = (
        replace(
            run,
            results=tuple(
                replace(r, blocks=synthetic.result(r.case, made=synthetic.blocks(0.0)).blocks) for r in run.results
            ),
        )
        for run in two_runs.runs(6, troubles=False)
    )
    return RunComparison(comparison=compare(base, new), base=base, new=new)


def _one_common() -> RunComparison:
    base, new = two_runs.runs(3, hostile=False, troubles=False)
    return RunComparison(comparison=compare(base, new), base=base, new=new)


UNCOMMON = {
    "one": lambda: exact([1.3]),
    "unchanged": lambda: exact([1.0] * 5),
    "all failed": lambda: exact([1.0] * 5, [Status.FAILED] * 5),
    "nothing timed": _nothing_timed,
    "not reached": _not_reached,
    "not a number": _nan_everywhere,
    "missing on both sides": _one_common,
}
