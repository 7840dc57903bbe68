"""What `convbench runs` and `convbench baseline list` print: the stored runs, newest first, and the names for some."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from convbench import units
from convbench.result import Baseline, RunSummary


def runs_text(runs: Sequence[RunSummary]) -> str:
    """One line a run; a row is never wrapped."""
    if not runs:
        return "no runs are stored yet; `convbench run CONFIG` makes one"
    rows: list[tuple[str, ...]] = [("run", "started (UTC)", "state", "cases", "wrong", "torch", "host", "name")]
    rows += [
        (
            run.id,
            minute(run.started_at),
            str(run.state),
            units.count(run.cases) if run.measured == run.cases else f"{run.measured:,} of {run.cases:,}",
            units.count(run.failed),
            run.torch,
            run.host,
            " ".join(run.name.split()),
        )
        for run in runs
    ]
    return _table(rows)


def baselines_text(baselines: Sequence[Baseline]) -> str:
    """One line a baseline."""
    if not baselines:
        return "no baselines are set yet; `convbench baseline set NAME RUN` sets one"
    rows = [("baseline", "run", "set (UTC)")]
    rows += [(baseline.name, baseline.run_id, minute(baseline.set_at)) for baseline in baselines]
    return _table(rows)


def minute(time: str) -> str:
    """`2026-11-24 03:30`; the text itself where it is no time."""
    try:
        return datetime.fromisoformat(time).strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return time


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)
