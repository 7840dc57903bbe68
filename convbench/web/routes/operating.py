"""For those who operate the service: is it alive, can it work, its figures for Prometheus."""

from __future__ import annotations

import anyio
import anyio.to_thread
from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from convbench.errors import StoreError
from convbench.store.patience import answering_within
from convbench.web.access import Reader
from convbench.web.room import obstacles
from convbench.web.state import Service, TheService

router = APIRouter(include_in_schema=False)


#: Seconds that the database may take until the service says that it is not ready.
PATIENCE_S = 5.0
#: The one thread that asks the database. Where it does not answer, requests may keep all other threads waiting.
_ASKING = anyio.CapacityLimiter(1)


@router.get("/healthz")
async def alive() -> PlainTextResponse:
    """Say that the process answers; it waits for no thread."""
    return PlainTextResponse("ok\n")


@router.get("/readyz")
async def ready(service: TheService) -> PlainTextResponse:
    """Say whether the service can work: its database and disks can be used, its runner lives, it does not stop."""
    wrong = [f"the database does not answer within {PATIENCE_S:.0f} s"]
    with anyio.move_on_after(PATIENCE_S):
        wrong = await anyio.to_thread.run_sync(_wrong, service, limiter=_ASKING, abandon_on_cancel=True)
    if service.runner is not None and not service.runner.is_alive:
        wrong.append("the runner of jobs has ended")
    if service.feed.is_closed:
        wrong.append("the service stops")
    return PlainTextResponse("".join(f"{reason}\n" for reason in wrong) or "ok\n", status_code=503 if wrong else 200)


def _wrong(service: Service) -> list[str]:
    """Why its database and its disks cannot be used."""
    wrong = list(obstacles(service.store.at))
    try:
        with answering_within(PATIENCE_S):
            service.jobs.counts()
    except StoreError:
        wrong.append("the database cannot be used")
    return wrong


@router.get("/metrics")
def metrics(service: TheService, reader: Reader) -> Response:
    """Get the figures of the service."""
    text = service.metrics.text(
        jobs=service.jobs.counts(), deliveries=service.deliveries.counts(), streams=service.feed.streams
    )
    return Response(text, media_type=service.metrics.media_type)
