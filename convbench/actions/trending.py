"""Finds out how each stored sweep's cases moved over its runs, within a time, going on from what was kept."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from convbench.errors import RequestError
from convbench.model.result import Run, RunSummary
from convbench.model.threshold import Thresholds
from convbench.report.pages.trends import MOST_RUNS, MOST_SWEEPS, Line, SweepTrend, line
from convbench.store import Store

#: Floors that are read for one sweep at most, in half a second: a sweep of many cases has fewer runs in its line.
MOST_FLOORS = 10_000


def sweeps_over_time(
    store: Store,
    stored: Sequence[RunSummary],
    kept: Mapping[str, SweepTrend],
    *,
    thresholds: Callable[[Run], Thresholds],
    seconds: float,
) -> dict[str, SweepTrend]:
    """The trends of the sweeps with the newest runs, by name, of the runs `stored`, newest first.

    What is kept of the same runs stands. The others are looked into until the time is over; of the rest the kept ones
    stand as they were, and what was never looked into is left out.
    """
    until = time.monotonic() + seconds
    found = {}
    for name, runs in list(_by_name(stored).items())[:MOST_SWEEPS]:
        wanted = runs[: min(MOST_RUNS, MOST_FLOORS // max(1, max(run.cases for run in runs[:MOST_RUNS])))]
        if len(wanted) < 2:
            continue
        of = tuple((run.id, run.finished_at or "") for run in wanted)
        before = kept.get(name)
        if before is not None and (before.of == of or time.monotonic() >= until):
            found[name] = before
        elif time.monotonic() < until:
            with suppress(RequestError):  # what cannot be read has no trend; its runs say more
                found[name] = SweepTrend(of=of, lines=_lines(store, [run.id for run in wanted], thresholds))
    return found


def _by_name(stored: Sequence[RunSummary]) -> dict[str, list[RunSummary]]:
    """The runs that are over by their sweep's name, those with the newest run first."""
    named: defaultdict[str, list[RunSummary]] = defaultdict(list)
    for run in stored:
        if run.finished_at is not None:
            named[run.name].append(run)
    return {name: runs for name, runs in named.items() if len(runs) > 1}


def _lines(store: Store, run_ids: Sequence[str], thresholds: Callable[[Run], Thresholds]) -> tuple[Line, ...]:
    from convbench.analysis.history.history import history, trends  # loads numpy, for which kept trends need not wait

    runs = store.past(run_ids=run_ids)
    return tuple(line(trend) for trend in trends(history(runs, thresholds(runs[-1]))))
