"""What `convbench history CASE` prints: the time over the runs of each machine, and the steps in it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from convbench import units
from convbench.analysis.comparison.comparability import Difference
from convbench.analysis.history.history import Point, Series, Step, differences_at
from convbench.analysis.history.steps import FEWEST
from convbench.model.lead import leading_word
from convbench.model.result import Status
from convbench.report.text.runs import minute, short_commit
from convbench.report.text.tables import folded, table
from convbench.units import flat

#: From the lowest time to the highest.
_BARS = "▁▂▃▄▅▆▇█"
#: The smallest span of times that fills the bars, as a logarithm: steadier times get low bars.
_LEAST_SPAN = 0.1
#: Runs in the line of bars, the newest.
_WIDEST = 60


def history_text(series: Sequence[Series], columns: int | None = None) -> str:
    """The case, then for each machine a line a run, the oldest first, and a sentence a step.

    No line is longer than `columns`.
    """
    case = series[-1].case
    parts = [f"{case.id}  {flat(case.label)}"]
    parts += [_machine(one, columns) for one in series]
    return folded("\n\n".join(parts), columns)


def _machine(series: Series, columns: int | None) -> str:
    judged = series.judged
    bars = f"  {sparkline([point.time_s for point in judged[-_WIDEST:]])}" if len(judged) > 1 else ""
    head = f"{flat(str(series.machine))}: {units.plural(len(series.points), 'run')}{bars}"
    rows: list[tuple[str, ...]] = [
        ("started (UTC)", "run", "commit", "branch", "torch", leading_word([series.case.device]), "change", "")
    ]
    last: Point | None = None
    for point in series.points:
        rows.append(_row(point, last if point.judged else None))
        last = point if point.judged else last
    kept = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:])]
    lines = table([tuple(row[column] for column in kept) for row in rows], columns)
    return "\n".join([head, lines, *_closing(series)])


def _row(point: Point, before: Point | None) -> tuple[str, ...]:
    run = point.run
    return (
        minute(run.started_at),
        run.id,
        short_commit(run.git),
        (run.git.branch if run.git else None) or "",
        run.environment.torch,
        units.seconds(point.time_s) if not math.isnan(point.time_s) else str(point.result.status),
        units.change(point.time_s / before.time_s) if before else "",
        _note(point),
    )


def _note(point: Point) -> str:
    """Why a run is not compared."""
    if point.judged:
        return ""
    if point.result.status is not Status.PASSED:
        return point.result.reason or ""
    return "too few blocks to compare with the others" if not math.isnan(point.time_s) else "no blocks"


def _closing(series: Series) -> list[str]:
    judged = series.judged
    if len(judged) < 2:
        return []
    processes = units.plural(series.processes, "process", "processes")
    over = f"{leading_word([series.case.device])}s over {units.plural(series.blocks, 'block')} of {processes}"
    if series.steps:
        return [*(step_text(step) for step in series.steps), over]
    if len(judged) < 2 * FEWEST:
        return [f"it takes {2 * FEWEST} runs to detect a step; {over}"]
    return [f"no step of more than {units.percent(series.threshold, 0)} with {FEWEST} runs on either side; {over}"]


def step_text(step: Step) -> str:
    """`step +30.1 % from run 20261124-... to run 20261125-...: 1.00 ms -> 1.30 ms, median of 4 and of 3 runs; ...`."""
    times = f"{units.seconds(step.base_s)} -> {units.seconds(step.new_s)}"
    between = f"from run {step.before.run.id} to run {step.after.run.id}"
    parts = [f"{times}, median of {units.count(step.base_runs)} and of {units.plural(step.new_runs, 'run')}"]
    parts += differences_text(differences_at([step]))
    return flat(f"step {units.change(step.ratio)} {between}: {'; '.join(parts)}")


def differences_text(differences: Sequence[Difference]) -> list[str]:
    """The differences at a step, with short commits; one sentence where none is known."""
    texts = [
        f"commit {_short(one.base)} -> {_short(one.new)}" if one.what == "commit" else str(one) for one in differences
    ]
    return texts or ["no other difference is known"]


def _short(commit: str) -> str:
    """`1a2b3c4d5e with changes` from a whole hash and the words after it."""
    name, *rest = commit.split(" ")
    return " ".join([name[:10], *rest])


def sparkline(times_s: Sequence[float]) -> str:
    """Times as a line of bars, low to high, on a logarithmic scale of 10 % or more."""
    logs = [math.log(each) for each in times_s]
    lowest = min(logs)
    span = max(max(logs) - lowest, _LEAST_SPAN)
    return "".join(_BARS[min(len(_BARS) - 1, int((value - lowest) / span * len(_BARS)))] for value in logs)
