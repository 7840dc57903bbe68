"""What lists show as files: runs and jobs as CSV, JSON and Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from convbench.model.job import Job, JobState
from convbench.store import listing
from convbench.store.listing import ListedRun
from convbench.web.access import Reader
from convbench.web.routes.runs import TheFilters
from convbench.web.state import Service, TheService

if TYPE_CHECKING:
    from convbench.report.lists import Cell

router = APIRouter(tags=["lists"])

#: The formats of a list, with their media types.
FORMATS = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
}
Form = Literal["csv", "json", "parquet"]
#: Maximum number of rows of a file.
MOST_ROWS = 10_000
Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="Rows at most, the newest ones.")]
#: The kinds of a list in the description of the API.
KINDS: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind.partition(";")[0]: {} for kind in FORMATS.values()}, "description": "The list."}
}
_RUN = ("id", "sweep", "state", "started_at", "finished_at", "host", "machine", "torch", "commit", "branch", "cases")
_RUN_COUNTS = ("measured", "failed", "imprecise")
_JOB = (
    *("id", "name", "state", "cases", "host", "against", "priority", "submitted_at", "submitted_by", "started_at"),
    *("ended_at", "tries", "run_id", "exit_code", "reason", "schedule_id", "due_at", "kind", "campaign_id"),
)


@router.get("/lists/runs.{form}", response_class=Response, responses=KINDS)
def runs(service: TheService, reader: Reader, form: Form, wanted: TheFilters, limit: Limit = 1000) -> Response:
    """Get the runs that the filters leave, the newest first, one row each."""
    found: list[ListedRun] = []
    after = None
    while len(found) < limit:
        page = listing.listed(service.store, wanted, after=after, most=min(1000, limit - len(found)))
        found += page.runs
        after = page.after
        if after is None:
            break
    return file(service, [_run(run) for run in found], (*_RUN, *_RUN_COUNTS), form, "runs")


@router.get("/lists/jobs.{form}", response_class=Response, responses=KINDS)
def jobs(
    service: TheService,
    reader: Reader,
    form: Form,
    state: Annotated[list[JobState] | None, Query(description="Only jobs in these states.")] = None,
    limit: Limit = 1000,
) -> Response:
    """Get jobs, the newest first, one row each."""
    found, _ = service.jobs.list(states=state or (), most=limit)
    return file(service, [_job(job) for job in found], _JOB, form, "jobs")


def _run(run: ListedRun) -> Mapping[str, Cell]:
    one, git = run.summary, run.summary.git
    named = {name: getattr(one, name) for name in ("id", "started_at", "finished_at", "host", "torch", "cases")}
    counts = {name: getattr(one, name) for name in _RUN_COUNTS}
    commit = {"commit": git.commit if git else None, "branch": git.branch if git else None}
    return {**named, **counts, **commit, "sweep": one.name, "state": one.state.value, "machine": run.machine}


def _job(job: Job) -> Mapping[str, Cell]:
    return {name: getattr(job, name) for name in _JOB} | {"state": job.state.value, "kind": job.kind.value}


def file(
    service: Service, rows: Sequence[Mapping[str, Cell]], columns: Sequence[str], form: Form, name: str
) -> Response:
    """The answer with a list as a file of this name."""
    headers = {"content-disposition": f'attachment; filename="{name}.{form}"'}
    return Response(service.pages.listed(rows, columns, form), media_type=FORMATS[form], headers=headers)
