"""For those who operate the service: is it alive, can it work, its figures for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from convbench.errors import StoreError
from convbench.web.access import Reader
from convbench.web.room import obstacles
from convbench.web.state import TheService

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
def alive() -> PlainTextResponse:
    """Say that the process answers."""
    return PlainTextResponse("ok\n")


@router.get("/readyz")
def ready(service: TheService) -> PlainTextResponse:
    """Say whether the service can work: its database and disks can be used, its runner lives, it does not stop."""
    wrong = list(obstacles(service.store.at))
    try:
        service.jobs.counts()
    except StoreError:
        wrong.append("the database cannot be used")
    if service.runner is not None and not service.runner.is_alive:
        wrong.append("the runner of jobs has ended")
    if service.feed.is_closed:
        wrong.append("the service stops")
    return PlainTextResponse("".join(f"{reason}\n" for reason in wrong) or "ok\n", status_code=503 if wrong else 200)


@router.get("/metrics")
def metrics(service: TheService, reader: Reader) -> Response:
    """Get the figures of the service."""
    text = service.metrics.text(
        jobs=service.jobs.counts(), deliveries=service.deliveries.counts(), streams=service.feed.streams
    )
    return Response(text, media_type=service.metrics.media_type)
