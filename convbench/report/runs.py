"""What `convbench runs` prints: the stored runs, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from convbench import units
from convbench.result import RunSummary


def runs_text(runs: Sequence[RunSummary]) -> str:
    """One line a run; a row is never wrapped."""
    if not runs:
        return "no runs are stored yet; `convbench run CONFIG` makes one"
    rows = [("run", "started (UTC)", "state", "cases", "wrong", "torch", "host", "name")]
    rows += [
        (
            run.id,
            datetime.fromisoformat(run.started_at).strftime("%Y-%m-%d %H:%M"),
            str(run.state),
            units.count(run.cases) if run.measured == run.cases else f"{run.measured:,} of {run.cases:,}",
            units.count(run.failed),
            run.torch,
            run.host,
            " ".join(run.name.split()),
        )
        for run in runs
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)
