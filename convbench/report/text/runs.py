"""What `convbench runs` and `convbench baseline list` print: the stored runs, newest first, and the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from convbench import units
from convbench.model.result import Baseline, Git, RunSummary
from convbench.report.text.tables import table


def runs_text(runs: Sequence[RunSummary], columns: int | None = None) -> str:
    """One line a run, or several where that is wider than `columns`.

    Columns for imprecise cases, commit and branch are there if a run has any.
    """
    if not runs:
        return "no runs are stored yet; `convbench run CONFIG` makes one"
    rows: list[tuple[str, ...]] = [
        ("run", "started (UTC)", "state", "cases", "wrong", "imprecise", "torch", "commit", "branch", "host", "name")
    ]
    rows += [
        (
            run.id,
            minute(run.started_at),
            str(run.state),
            units.count(run.cases) if run.measured == run.cases else f"{run.measured:,} of {run.cases:,}",
            units.count(run.failed),
            units.count(run.imprecise) if run.imprecise else "",
            run.torch,
            short_commit(run.git),
            (run.git.branch if run.git else None) or "",
            run.host,
            run.name,
        )
        for run in runs
    ]
    kept = [
        column for column, head in enumerate(rows[0]) if head not in _SPARSE or any(row[column] for row in rows[1:])
    ]
    return table([tuple(row[column] for column in kept) for row in rows], columns)


def removal_text(
    runs: Sequence[RunSummary],
    pages: Sequence[str],
    page_bytes: int,
    *,
    dry_run: bool,
    campaigns: Sequence[str] = (),
) -> str:
    """Deleted runs, campaigns and pages, one a line, then how many; `dry_run` where nothing was deleted yet."""
    rows = [(run.id, minute(run.started_at), run.name) for run in runs]
    done = "would be deleted" if dry_run else "deleted"
    sized = f" of {units.size(page_bytes)}" if pages else ""
    counted = [units.plural(len(runs), "run")]
    counted += [units.plural(len(campaigns), "campaign")] if campaigns else []
    total = f"{done}: {', '.join(counted)}, {units.plural(len(pages), 'page')}{sized}"
    emptied = [f"campaign {one}, which has no other run" for one in campaigns]
    return "\n".join([*([table(rows)] if rows else []), *emptied, *map(units.line, pages), total])


#: Columns that are left out where they are empty for all runs.
_SPARSE = ("imprecise", "commit", "branch")


def short_commit(git: Git | None) -> str:
    """`1a2b3c4d5e`, with a plus where files differed from it; "" where none is known."""
    return git.commit[:10] + ("+" if git.dirty else "") if git else ""


def baselines_text(baselines: Sequence[Baseline], columns: int | None = None) -> str:
    """One line a baseline."""
    if not baselines:
        return "no baselines are set yet; `convbench baseline set NAME RUN` sets one"
    rows = [("baseline", "run", "set (UTC)")]
    rows += [(baseline.name, baseline.run_id, minute(baseline.set_at)) for baseline in baselines]
    return table(rows, columns)


def minute(time: str) -> str:
    """`2026-11-24 03:30`; the text itself if it is not a time."""
    try:
        return datetime.fromisoformat(time).strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return time
