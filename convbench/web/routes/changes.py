"""What changed, for other programs: the badge of a sweep, and the feed of confirmed changes and acceptances."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Path, Query, Request, Response

from convbench.actions.baselines import baseline_of
from convbench.actions.schedules import BASELINE_SET
from convbench.errors import NotComparableError
from convbench.model.result import RunState
from convbench.model.schedule import Acceptance, JobVerdict
from convbench.report.pages.atom import Entry, atom
from convbench.report.pages.badge import badge
from convbench.store import listing, verdicts
from convbench.store.listing import Filters
from convbench.web.access import Reader
from convbench.web.state import Service, TheService

router = APIRouter(tags=["changes"])
#: The feed is for readers of feeds and not for programs of the API, so it lies beside the pages.
feed_router = APIRouter(include_in_schema=False)

#: Entries of the feed.
MOST_ENTRIES = 100
#: The verdicts that the feed has: others say that nothing changed.
_CHANGES = ("regressed", "improved", BASELINE_SET)


@router.get("/sweeps/{name}/badge.svg", response_class=Response, responses={200: {"content": {"image/svg+xml": {}}}})
def sweep_badge(
    service: TheService,
    reader: Reader,
    request: Request,
    name: Annotated[str, Path(min_length=1, max_length=200, description="The name of a sweep that has runs.")],
    machine: Annotated[str | None, Query(max_length=300, description="Only runs of this machine.")] = None,
    label: Annotated[
        str | None, Query(max_length=100, description="The left word; the sweep's name without it.")
    ] = None,
) -> Response:
    """Get the verdict of a sweep's newest run against its baseline, as a picture for a README."""
    made = badge(label or name, _verdict(service, name, machine)).encode()
    headers = {
        "cache-control": "no-cache, max-age=0",  # pictures of a README are kept for long by who shows them
        "etag": f'"{sha256(made).hexdigest()[:32]}"',
        "content-security-policy": "sandbox; default-src 'none'",
    }
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(made, media_type="image/svg+xml", headers=headers)


def _verdict(service: Service, sweep: str, machine: str | None) -> str:
    """The verdict on the newest finished run: the confirmed one, or that of both stored runs."""
    wanted = Filters(sweep=sweep, machine=machine or None, state=RunState.FINISHED)
    newest = listing.listed(service.store, wanted, most=1).runs
    if not newest:
        return "no run"
    run = newest[0].summary
    if verdicts.acceptances(service.store, run_ids=[run.id], most=1):
        return "accepted"
    confirmed = verdicts.verdicts(service.store, run_ids=[run.id], most=1)
    if confirmed:
        return confirmed[0].verdict
    baselines = service.store.baselines()
    base = baseline_of(run.id, baselines, service.store.machine_runs(name=sweep)) if baselines else None
    if base is None:
        return "no baseline"
    try:
        return service.pages.compared(base.run_id, run.id).verdict
    except NotComparableError:
        return "not comparable"


@feed_router.get("/changes.atom")
def changes(service: TheService, reader: Reader, request: Request) -> Response:
    """Get the feed of confirmed changes and acceptances, the newest first."""
    root = str(request.base_url).rstrip("/")
    identity = f"tag:convbench,2026:{service.store.identity()}"
    found = [
        *(
            _of_verdict(one, identity, root)
            for one in verdicts.verdicts(service.store, kinds=_CHANGES, most=MOST_ENTRIES)
        ),
        *(_of_acceptance(one, identity, root) for one in verdicts.acceptances(service.store, most=MOST_ENTRIES)),
    ]
    found.sort(key=lambda entry: entry.at, reverse=True)
    made = atom(
        found[:MOST_ENTRIES],
        feed_id=f"{identity}/changes",
        title="convbench: changes",
        link=f"{root}/changes.atom",
        updated=datetime.fromtimestamp(0, UTC).isoformat(),
    )
    return Response(made, media_type="application/atom+xml")


def _of_verdict(one: JobVerdict, identity: str, root: str) -> Entry:
    cases = "\n".join(
        f"{case.verdict} x {case.ratio:.3f} ({case.low:.3f} to {case.high:.3f}): {case.label}" for case in one.changes
    )
    compared = urlencode({"base": one.base_id or "", "new": one.run_id})
    return Entry(
        id=f"{identity}/verdict/{one.job_id}",
        at=one.at,
        title=f"{one.sweep_name}: {one.verdict}" + (f" against {one.baseline}" if one.base_id else f", {one.baseline}"),
        text=f"{one.text}\n{cases}".rstrip(),
        link=f"{root}/compare?{compared}" if one.base_id else f"{root}/runs/{quote(one.run_id)}",
        author="convbench",
    )


def _of_acceptance(one: Acceptance, identity: str, root: str) -> Entry:
    return Entry(
        id=f"{identity}/acceptance/{one.key}",
        at=one.at,
        title=f"{one.sweep_name}: {one.baseline} is accepted to be run {one.run_id}",
        text=f"In place of run {one.before_id}. Reason: {one.reason}",
        link=f"{root}/runs/{quote(one.run_id)}",
        author=one.who,
    )
