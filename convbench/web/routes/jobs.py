"""Jobs: submit a sweep, list jobs, cancel one, submit it again, and its events as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent

from convbench.actions import jobs as verbs
from convbench.errors import RequestError, StoreError
from convbench.model.job import Job, JobState
from convbench.web.access import Reader, Submitter
from convbench.web.answers_jobs import AnyJobRequest, JobAnswer, JobList, JobRequest, WholeJob
from convbench.web.helper import BusyError
from convbench.web.kept import may_be_kept
from convbench.web.problems import NothingMoreError
from convbench.web.state import Service, TheService

router = APIRouter(tags=["jobs"])

#: The largest key that the database has.
MOST_KEY = 2**31 - 1
#: Streams of events that may be open at once.
MOST_STREAMS = 1000
#: Seconds after which a stream looks for events that another service has stored.
LOOK_S = 10.0
#: Milliseconds after which a browser connects again.
RETRY_MS = 2000

JobId = Annotated[str, Path(min_length=1, max_length=100, description="The job's id.")]
IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=200, description="The same key gives the same job, however often it is sent."),
]


#: The answer to a submission whose key was used before.
BEFORE: dict[int | str, dict[str, Any]] = {200: {"model": JobAnswer, "description": "The job that has this key."}}


@router.post("/jobs", status_code=HTTPStatus.CREATED, responses=BEFORE)
def submit(
    service: TheService,
    sender: Submitter,
    request: Request,
    body: AnyJobRequest,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> JobAnswer:
    """Submit a sweep, or a model whose convolutions are captured as a sweep.

    201 for a new job; 200 for the one that has this idempotency key already.
    """
    task = None if body.fleet is None else body.fleet.task()
    if task is not None:
        _refuse_fleet(service, body)
    text = body.sweep if isinstance(body, JobRequest) else service.captured(body)
    job, is_new = verbs.submit(
        service.store,
        text,
        service.trusted(text),
        by=sender.name,
        host=body.host if task is None else service.host,
        against=body.against,
        priority=body.priority,
        task=task,
        idempotency_key=idempotency_key,
    )
    return submitted(service, request, response, job, is_new=is_new)


def _refuse_fleet(service: Service, body: AnyJobRequest) -> None:
    """RequestError where the service has no cluster, and for what a campaign cannot have."""
    if service.settings.ray is None:
        raise RequestError("this service has no cluster", hint="start it with --ray ADDRESS")
    for name in ("host", "against"):
        if getattr(body, name) is not None:
            raise RequestError(f"got `fleet` and `{name}`", hint="give one or the other")


def submitted(service: Service, request: Request, response: Response, job: Job, *, is_new: bool) -> JobAnswer:
    """The answer to a submission, and its status."""
    response.status_code = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    request.state.target = job.id
    service.job_changed(job.id)
    return JobAnswer.of(job)


@router.get("/jobs")
def list_jobs(
    service: TheService,
    reader: Reader,
    request: Request,
    state: Annotated[list[JobState] | None, Query(description="Only jobs in these states.")] = None,
    before: Annotated[int | None, Query(ge=1, le=MOST_KEY, description="Where the page before ended.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> JobList:
    """List jobs, the newest first."""
    may_be_kept(request)
    jobs, last = service.jobs.list(states=state or (), before=before, most=limit)
    return JobList(jobs=[JobAnswer.of(job) for job in jobs], before=last)


@router.get("/jobs/{job_id}")
def get_job(service: TheService, reader: Reader, job_id: JobId) -> WholeJob:
    """Get a job with the text of its sweep."""
    found = service.jobs.get(job_id)
    return WholeJob.of(found, verbs.outcome(service.store, found))


@router.post("/jobs/{job_id}/cancel")
def cancel(service: TheService, sender: Submitter, job_id: JobId) -> JobAnswer:
    """Cancel a queued job, or have a running one interrupted; what was measured stays."""
    job = verbs.cancel(service.store, job_id)
    service.job_changed(job_id)
    return JobAnswer.of(job)


@router.post("/jobs/{job_id}/again", status_code=HTTPStatus.CREATED, responses=BEFORE)
def again(
    service: TheService,
    sender: Submitter,
    request: Request,
    job_id: JobId,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> JobAnswer:
    """Submit the sweep of a job once more."""
    found = service.trusted(service.jobs.get(job_id).sweep)
    job, is_new = verbs.again(service.store, job_id, found, by=sender.name, idempotency_key=idempotency_key)
    return submitted(service, request, response, job, is_new=is_new)


def _after(
    service: TheService,
    reader: Reader,
    job_id: JobId,
    last_event_id: Annotated[str | None, Header(max_length=40, description="The id of the last event seen.")] = None,
    after: Annotated[int, Query(ge=0, le=MOST_KEY, description="The same, for a first connection.")] = 0,
) -> int:
    """The key of the last event that a reader has; NothingMoreError where the job has ended and has no more."""
    job = service.jobs.get(job_id)
    if last_event_id is not None and last_event_id.isascii() and last_event_id.isdecimal():
        after = min(int(last_event_id), MOST_KEY)
    if service.feed.streams >= MOST_STREAMS:
        raise BusyError(f"{MOST_STREAMS} streams of events are open", hint="close some, or ask for the job's state")
    if job.is_over and not service.jobs.events(job_id, after=after, most=1):
        raise NothingMoreError
    return after


@router.get("/jobs/{job_id}/events", response_class=EventSourceResponse)
async def events(
    service: TheService, job_id: JobId, after: Annotated[int, Depends(_after)]
) -> AsyncIterator[ServerSentEvent]:
    """What happens to a job, as server-sent events: `state`, `progress`, `case`, `log`, and `end` when it is over.

    The ids rise, so that a reader who comes back sends the last one in `Last-Event-ID` and misses nothing. A comment
    comes every 15 seconds.
    """
    yield ServerSentEvent(retry=RETRY_MS)
    with service.feed.watching(job_id) as changed:
        while not service.feed.is_closed:
            changed.clear()
            try:
                is_over = (await run_in_threadpool(service.jobs.get, job_id)).is_over  # before its last events are read
                found = await run_in_threadpool(service.jobs.events, job_id, after=after)
            except StoreError:  # the reader comes again, and the database may be back
                return
            for event in found:
                after = event.key
                yield ServerSentEvent(raw_data=event.data, event=event.kind.value, id=str(event.key))
            if is_over and not found:
                yield ServerSentEvent(raw_data="{}", event="end")
                return
            if not found:
                with anyio.move_on_after(LOOK_S):
                    await changed.wait()
