"""Runs: the list with its filters, one run, its report and its exports; two runs compared; the machines."""

from __future__ import annotations

from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import HTMLResponse

from convbench.model.result import RunState
from convbench.store import listing
from convbench.store.listing import Filters
from convbench.web.access import Reader
from convbench.web.answers import CompareAnswer, MachineAnswer, RunAnswer, RunList, WholeRun
from convbench.web.kept import may_be_kept
from convbench.web.state import TheService

router = APIRouter(tags=["runs"])

#: The policy of a page that holds texts of users and scripts. It gets an origin of its own, so a hostile label cannot
#: use the reader's cookie. A click on a link for a file still saves it.
SANDBOX = "sandbox allow-scripts allow-downloads; frame-ancestors 'self'"

RunRef = Annotated[
    str,
    Path(min_length=1, max_length=200, description="`latest`, a run's id, a unique prefix of one, or a baseline."),
]
_Word = Annotated[str | None, Query(max_length=300)]
#: The formats of an export, with their media types and endings of files.
FORMATS = {
    "csv": ("text/csv; charset=utf-8", "csv"),
    "json": ("application/json", "json"),
    "parquet": ("application/vnd.apache.parquet", "parquet"),
    "markdown": ("text/markdown; charset=utf-8", "md"),
    "junit": ("application/xml", "xml"),
    "benchdnn": ("text/plain; charset=utf-8", "txt"),
}
Form = Literal["csv", "json", "parquet", "markdown", "junit", "benchdnn"]


async def filters(
    sweep: _Word = None,
    machine: _Word = None,
    host: _Word = None,
    branch: _Word = None,
    commit: Annotated[str | None, Query(max_length=64, description="The beginning of one.")] = None,
    torch: _Word = None,
    state: RunState | None = None,
    verdict: Annotated[
        str | None, Query(max_length=100, description="The verdict of a job on the run: `regressed`, `unchanged`.")
    ] = None,
    text: Annotated[str | None, Query(max_length=300, description="Words of the id, name, machine, branch.")] = None,
) -> Filters:
    """The filters of a list in its URL; an empty one is none. Async, since it needs no other thread."""
    return Filters(
        sweep=sweep or None,
        machine=machine or None,
        host=host or None,
        branch=branch or None,
        commit=commit or None,
        torch=torch or None,
        state=state,
        verdict=verdict or None,
        text=text or None,
    )


TheFilters = Annotated[Filters, Depends(filters)]
After = Annotated[
    str | None,
    Query(max_length=100, pattern=r"^[0-9A-Z:.+-]+_[0-9]{1,18}$", description="Where the page before ended."),
]


@router.get("/runs")
def list_runs(
    service: TheService,
    reader: Reader,
    request: Request,
    wanted: TheFilters,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> RunList:
    """List runs, the newest first, without their results."""
    found = listing.listed(service.store, wanted, after=after, most=limit)
    may_be_kept(request, if_true=found.is_settled)
    return RunList(runs=[RunAnswer.of(run) for run in found.runs], after=found.after)


@router.get("/runs/{run}")
def get_run(service: TheService, reader: Reader, run: RunRef) -> WholeRun:
    """Get a run without its results."""
    found = listing.one(service.store, service.store.run_id(run))
    names = [baseline.name for baseline in service.store.baselines() if baseline.run_id == found.summary.id]
    sweep = service.store.sweep_of(found.summary.id)
    return WholeRun(**RunAnswer.of(found).model_dump(), baselines=names, sweep=sweep)


@router.get("/runs/{run}/report", response_class=HTMLResponse)
def report(service: TheService, reader: Reader, request: Request, run: RunRef) -> Response:
    """Get the report of a run: one page that sends no requests, in an origin of its own."""
    run_id = service.store.run_id(run)
    return sandboxed(request, service.pages.report(run_id), f"{run_id} {service.store.ended_at(run_id)}")


@router.get(
    "/runs/{run}/export",
    response_class=Response,
    responses={200: {"content": {kind.partition(";")[0]: {} for kind, _ in FORMATS.values()}}},
)
def export(service: TheService, reader: Reader, run: RunRef, format: Form = "csv") -> Response:
    """Get a run with its results in a format of `convbench export`."""
    run_id = service.store.run_id(run)
    media_type, ending = FORMATS[format]
    headers = {"content-disposition": f'attachment; filename="{run_id}.{ending}"', "content-security-policy": "sandbox"}
    return Response(service.pages.export(run_id, format), media_type=media_type, headers=headers)


RunQuery = Annotated[str, Query(min_length=1, max_length=200)]


@router.get("/compare")
def compare(
    service: TheService, reader: Reader, base: RunQuery, new: RunQuery, across_environments: bool = False
) -> CompareAnswer:
    """Compare any two runs."""
    base_id, new_id = service.store.run_id(base), service.store.run_id(new)
    return service.pages.compared(base_id, new_id, across=across_environments)


@router.get("/compare/report", response_class=HTMLResponse)
def comparison(
    service: TheService,
    reader: Reader,
    request: Request,
    base: RunQuery,
    new: RunQuery,
    across_environments: bool = False,
) -> Response:
    """Get the page of a comparison of any two runs, in an origin of its own."""
    base_id, new_id = service.store.run_id(base), service.store.run_id(new)
    made = service.pages.comparison(base_id, new_id, across=across_environments)
    ended = [service.store.ended_at(run_id) for run_id in (base_id, new_id)]
    return sandboxed(request, made, f"{base_id} {new_id} {ended} {across_environments}")


def sandboxed(request: Request, content: bytes, version: str) -> Response:
    """A page with users' texts and scripts. A browser that has this version of it gets no second copy."""
    tag = f'"{sha256(version.encode()).hexdigest()[:32]}"'
    headers = {"content-security-policy": SANDBOX, "etag": tag, "cache-control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return HTMLResponse(content, headers=headers)


@router.get("/machines")
def machines(service: TheService, reader: Reader, request: Request) -> list[MachineAnswer]:
    """List the machines that have runs, the one that measured last first."""
    may_be_kept(request)
    return [MachineAnswer.of(one) for one in listing.machines(service.store)]
