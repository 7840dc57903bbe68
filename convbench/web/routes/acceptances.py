"""Acceptances: a person makes a run the baseline and says why; the list of them; and verdicts on jobs' runs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request

from convbench.actions import schedules as verbs
from convbench.actions.jobs import now
from convbench.store import verdicts as stored
from convbench.web.access import Reader, Submitter
from convbench.web.answers import AcceptanceAnswer, AcceptanceRequest, VerdictAnswer
from convbench.web.state import TheService

router = APIRouter(tags=["acceptances"])

_Run = Annotated[str | None, Query(min_length=1, max_length=200, description="Only of this run.")]
_Limit = Annotated[int, Query(ge=1, le=200)]


@router.post("/acceptances", status_code=HTTPStatus.CREATED)
def accept(service: TheService, sender: Submitter, request: Request, body: AcceptanceRequest) -> AcceptanceAnswer:
    """Accept a change: make a run the baseline. 409 where the baseline is another run than the one expected."""
    request.state.target = f"{body.baseline}, {body.run}"
    made = verbs.accept(
        service.store,
        body.baseline,
        body.run,
        who=sender.name,
        reason=body.reason,
        at=now(),
        expected=body.expected,
    )
    return AcceptanceAnswer.of(made)


@router.get("/acceptances")
def list_acceptances(
    service: TheService,
    reader: Reader,
    run: _Run = None,
    baseline: Annotated[str | None, Query(min_length=1, max_length=100, description="Only of this one.")] = None,
    limit: _Limit = 50,
) -> list[AcceptanceAnswer]:
    """List who accepted what, the newest first."""
    runs = None if run is None else [service.store.run_id(run)]
    found = stored.acceptances(service.store, run_ids=runs, baseline=baseline, most=limit)
    return [AcceptanceAnswer.of(one) for one in found]


@router.get("/verdicts")
def list_verdicts(service: TheService, reader: Reader, run: _Run = None, limit: _Limit = 50) -> list[VerdictAnswer]:
    """List what jobs' runs became of their baselines, after confirmation, the newest first."""
    runs = None if run is None else [service.store.run_id(run)]
    return [VerdictAnswer.of(one) for one in stored.verdicts(service.store, run_ids=runs, most=limit)]
