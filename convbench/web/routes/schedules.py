"""Schedules: make one, list and change them, pause one, run it now, delete it; when cron's words are due."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from convbench.actions import schedules as verbs
from convbench.actions.cron import LONGEST_CRON, SHOWN_TIMES, following, zone_of
from convbench.errors import ConflictError, RequestError
from convbench.model.schedule import Schedule
from convbench.store import verdicts as stored_verdicts
from convbench.web.access import Reader, Submitter
from convbench.web.answers import (
    CronAnswer,
    ScheduleAnswer,
    ScheduleRequest,
    VerdictAnswer,
    WholeSchedule,
)
from convbench.web.answers_jobs import JobAnswer
from convbench.web.answers_schedules import ScheduleChange
from convbench.web.state import TheService

router = APIRouter(tags=["schedules"])

ScheduleId = Annotated[str, Path(min_length=1, max_length=100, description="The schedule's id.")]


@router.get("/schedules")
def list_schedules(service: TheService, reader: Reader) -> list[ScheduleAnswer]:
    """List schedules, the one that is due next first."""
    return [_answer(schedule) for schedule in service.schedules.list()]


@router.post("/schedules", status_code=HTTPStatus.CREATED)
def make(service: TheService, sender: Submitter, request: Request, body: ScheduleRequest) -> ScheduleAnswer:
    """Make a schedule. Its jobs need what a submitted sweep needs."""
    wanted = verbs.Wanted(
        name=body.name,
        cron=body.cron,
        zone=body.zone,
        sweep=body.sweep,
        host=body.host or service.host,
        baseline=body.baseline or verbs.baseline_name(body.name),
        priority=body.priority,
    )
    at = datetime.now(UTC)
    made = verbs.make(service.store, wanted, service.trusted(body.sweep), by=sender.name, at=at)
    request.state.target = made.id
    return _answer(made)


@router.get("/schedules/{schedule_id}")
def get_schedule(service: TheService, reader: Reader, schedule_id: ScheduleId) -> WholeSchedule:
    """Get a schedule with the text of its sweep."""
    found = service.schedules.get(schedule_id)
    return WholeSchedule(**_answer(found).model_dump(), sweep=found.sweep)


@router.patch("/schedules/{schedule_id}")
def change(service: TheService, sender: Submitter, schedule_id: ScheduleId, body: ScheduleChange) -> WholeSchedule:
    """Change a schedule. 409 where it is another edition than the one expected, or another one has the name."""
    seen = service.schedules.get(schedule_id)
    if body.expected is not None and body.expected != verbs.edition(seen):
        raise ConflictError(f"schedule {seen.name!r} was changed meanwhile", hint="look at it again first")
    given = body.model_dump(exclude={"expected"}, exclude_none=True)
    found = service.trusted(body.sweep) if body.sweep not in (None, seen.sweep) else None
    wanted = replace(verbs.wanted_of(seen), **given)
    made = verbs.change(service.store, seen, wanted, found, at=datetime.now(UTC))
    return WholeSchedule(**_answer(made).model_dump(), sweep=made.sweep)


@router.post("/schedules/{schedule_id}/pause")
def pause(service: TheService, sender: Submitter, schedule_id: ScheduleId) -> ScheduleAnswer:
    """Pause a schedule: it is not due until it goes on."""
    return _answer(verbs.pause(service.store, schedule_id))


@router.post("/schedules/{schedule_id}/resume")
def resume(service: TheService, sender: Submitter, schedule_id: ScheduleId) -> ScheduleAnswer:
    """Let a paused schedule go on, from its next time; what it missed is left out."""
    return _answer(verbs.resume(service.store, schedule_id, datetime.now(UTC)))


@router.post("/schedules/{schedule_id}/run", status_code=HTTPStatus.CREATED)
def run_now(service: TheService, sender: Submitter, request: Request, schedule_id: ScheduleId) -> JobAnswer:
    """Queue a job of a schedule now; its times stay."""
    at = datetime.now(UTC)
    job = verbs.run_now(service.store, schedule_id, service.trusted, by=sender.name, at=at)
    request.state.target = f"{schedule_id}, {job.id}"
    service.job_changed(job.id)
    return JobAnswer.of(job)


@router.delete("/schedules/{schedule_id}", status_code=HTTPStatus.NO_CONTENT)
def delete(service: TheService, sender: Submitter, schedule_id: ScheduleId) -> None:
    """Delete a schedule; its jobs, runs and verdicts stay."""
    service.schedules.delete(schedule_id)


@router.get("/schedules/{schedule_id}/verdicts")
def verdicts(
    service: TheService,
    reader: Reader,
    schedule_id: ScheduleId,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[VerdictAnswer]:
    """List what became of a schedule's baseline, the newest run first."""
    found = service.schedules.get(schedule_id)
    some = stored_verdicts.verdicts(service.store, schedule_id=found.id, most=limit)
    return [VerdictAnswer.of(one) for one in some]


@router.get("/cron")
def cron(
    reader: Reader,
    cron: Annotated[str, Query(min_length=1, max_length=LONGEST_CRON, description="Five fields, or `@daily`.")],
    zone: Annotated[str, Query(min_length=1, max_length=60)] = "UTC",
) -> CronAnswer:
    """Say when cron's words are due next in a time zone: five times, or what is wrong with the words."""
    return due(cron, zone)


def due(cron: str, zone: str) -> CronAnswer:
    """When cron's words are due next in a time zone, or what is wrong with them."""
    try:
        here = zone_of(zone)
        times = list(islice(following(cron, zone, datetime.now(UTC)), SHOWN_TIMES))
    except RequestError as error:
        return CronAnswer(times=[], local=[], refused="; ".join(filter(None, (error.message, error.hint))))
    local = [f"{time.astimezone(here):%A, %-d %B %Y, %H:%M %Z}" for time in times]
    return CronAnswer(times=[time.isoformat() for time in times], local=local)


def _answer(schedule: Schedule) -> ScheduleAnswer:
    return ScheduleAnswer.of(schedule, verbs.next_times(schedule, datetime.now(UTC)))
