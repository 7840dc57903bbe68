"""Computes how the cases of each stored sweep changed over its runs, with a time limit and a cache."""

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

#: Maximum floors read per sweep, which takes 0.5 s: the trend of a sweep with many cases has fewer runs.
MOST_FLOORS = 10_000


def sweeps_over_time(
    store: Store,
    stored: Sequence[RunSummary],
    kept: Mapping[str, SweepTrend],
    *,
    thresholds: Callable[[Run], Thresholds],
    seconds: float,
) -> dict[str, SweepTrend]:
    """Trends by the sweep's name, for the sweeps with the newest runs. `stored` lists runs, newest first.

    A trend in `kept` is used again where it was computed from the same runs. The others are computed until `seconds`
    are over. After that an outdated trend stays as it is, and a sweep without one is left out.
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
            with suppress(RequestError):  # an unreadable sweep has no trend; the list of runs shows the reason
                found[name] = SweepTrend(of=of, lines=_lines(store, [run.id for run in wanted], thresholds))
    return found


def _by_name(stored: Sequence[RunSummary]) -> dict[str, list[RunSummary]]:
    """The finished runs by their sweep's name; the sweep with the newest run is first."""
    named: defaultdict[str, list[RunSummary]] = defaultdict(list)
    for run in stored:
        if run.finished_at is not None:
            named[run.name].append(run)
    return {name: runs for name, runs in named.items() if len(runs) > 1}


def _lines(store: Store, run_ids: Sequence[str], thresholds: Callable[[Run], Thresholds]) -> tuple[Line, ...]:
    from convbench.analysis.history.history import history, trends  # loads numpy, which kept trends do not need

    runs = store.past(run_ids=run_ids)
    return tuple(line(trend) for trend in trends(history(runs, thresholds(runs[-1]))))
