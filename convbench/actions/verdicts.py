"""Compares stored runs with their baselines for the page of all runs, with a time limit and a cache."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from convbench import sweep as sweeps
from convbench.actions.baselines import baseline_of
from convbench.errors import NotComparableError, RequestError
from convbench.model.result import Baseline, Run, RunSummary
from convbench.report.pages.index_cache import NOT_COMPARABLE, Judged
from convbench.store import Store


def verdicts(
    store: Store,
    runs: Sequence[RunSummary],
    kept: Mapping[str, Judged],
    *,
    most_cases: int,
    seconds: float,
) -> dict[str, Judged]:
    """The verdicts of those of `runs` that are finished against their baselines among all stored runs, by run id.

    A verdict in `kept` is used again where the baseline is the same run. Others are computed until `seconds` are over,
    for runs of `most_cases` at most.
    """
    until = time.monotonic() + seconds
    baselines = store.baselines()
    stored = store.machine_runs() if baselines else []
    bases: dict[str, Run] = {}
    found = {}
    for run in runs:
        base = baseline_of(run.id, baselines, stored) if run.finished_at is not None else None
        if base is None:
            continue
        before = kept.get(run.id)
        if before is not None and before.is_of(base, run):
            found[run.id] = before
        elif run.cases <= most_cases and time.monotonic() < until:
            with suppress(RequestError):  # an unreadable run has no verdict
                if base.run_id not in bases:
                    bases[base.run_id] = store.load(base.run_id, checks=False)
                found[run.id] = _judged(bases[base.run_id], store.load(run.id, checks=False), base)
    return found


def _judged(base: Run, new: Run, name: Baseline) -> Judged:
    from convbench.analysis.comparison.comparability import refuse
    from convbench.analysis.comparison.comparison import compare
    from convbench.report.text.compare import verdict_text

    try:
        comparison = compare(base, new, sweeps.thresholds(new))
        refuse(base, new, comparison.differences)
    except NotComparableError as error:
        return Judged.of(name, new, verdict=NOT_COMPARABLE, detail=error.message)
    return Judged.of(name, new, verdict=comparison.verdict.value, detail=verdict_text(comparison))
