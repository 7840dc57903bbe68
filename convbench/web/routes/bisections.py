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

#: The cases that may decide where a request names none: those that moved most.
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
    task = bisection_jobs.asked(
        service.store,
        checkouts,
        base_id,
        new_id,
        lambda: body.cases or _moved(service, base_id, new_id),
        checkout=body.checkout,
    )
    text = service.store.sweep_of(new_id)
    job, is_new = verbs.submit(
        service.store,
        text,
        replace(service.trusted(text), cases=len(task.case_ids)),
        by=sender.name,
        host=service.host,
        priority=body.priority,
        task=task,
        idempotency_key=idempotency_key,
    )
    return submitted(service, request, response, job, is_new=is_new)


def _moved(service: Service, base_id: str, new_id: str) -> Sequence[str]:
    """The ids of the cases that moved most between two runs: first those that changed beyond noise.

    The search begins with both commits side by side, so a case that only seems to have moved costs one comparison.
    """
    found = service.pages.compared(base_id, new_id, across=True)
    moved = [
        (one.verdict not in _CHANGED, -abs(math.log(one.ratio)), one.case_id) for one in found.judgments if one.ratio
    ]
    if not moved:
        raise RequestError("both runs have no case in common that was timed")
    return [case_id for _, _, case_id in sorted(moved)[:USUAL_CASES]]
