"""Bisections: a job that finds the commit between two runs since which a case takes another time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from convbench.actions import bisection_jobs
from convbench.actions import jobs as verbs
from convbench.errors import RequestError
from convbench.web.access import Submitter
from convbench.web.answers_jobs import BisectionRequest, JobAnswer
from convbench.web.routes.jobs import BEFORE, IdempotencyKey, submitted
from convbench.web.state import Service, TheService

router = APIRouter(tags=["jobs"])

#: The cases that may decide where a request names none: those that changed most.
USUAL_CASES = 5
#: The verdicts of cases that changed.
_CHANGED = ("regressed", "improved")


@router.post("/bisections", status_code=HTTPStatus.CREATED, responses=BEFORE)
def find(
    service: TheService,
    sender: Submitter,
    request: Request,
    body: BisectionRequest,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> JobAnswer:
    """Submit a job that finds the commit since which cases of a sweep take another time.

    It measures commits of a checkout of the service side by side. 200 where a job has this idempotency key already.
    """
    base_id, new_id = service.store.run_id(body.base), service.store.run_id(body.new)
    checkouts = dict(service.settings.checkouts) if service.settings.trust_modules else {}
    cases = body.cases or _changed(service, base_id, new_id)
    task = bisection_jobs.asked(service.store, checkouts, base_id, new_id, cases, checkout=body.checkout)
    text = service.store.sweep_of(new_id)
    job, is_new = verbs.submit(
        service.store,
        text,
        replace(service.trusted(text), cases=len(cases)),
        by=sender.name,
        host=service.host,
        priority=body.priority,
        task=task,
        idempotency_key=idempotency_key,
    )
    return submitted(service, request, response, job, is_new=is_new)


def _changed(service: Service, base_id: str, new_id: str) -> Sequence[str]:
    """The ids of the cases that changed most between two runs; RequestError where none did."""
    found = service.pages.compared(base_id, new_id, across=True)
    changed = [one for one in found.judgments if one.verdict in _CHANGED and one.ratio]
    changed.sort(key=lambda one: -abs(math.log(one.ratio or 1.0)))
    if not changed:
        raise RequestError("no case changed between both runs", hint="name those to look at in `cases`")
    return [one.case_id for one in changed[:USUAL_CASES]]
