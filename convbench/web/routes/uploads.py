"""Runs from elsewhere, in parts: a head, cases in order with their visits, the end. Every step may be sent again."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field

from convbench.errors import RequestError
from convbench.model.result import RunState
from convbench.model.serial import case_from_json, process_facts_from_json, visit_from_json
from convbench.store.parts import MOST_CASES, Entry, Part, Parts
from convbench.store.receiving import Receiving
from convbench.web.access import Reporter
from convbench.web.answers import Given, Strictly
from convbench.web.state import TheService

router = APIRouter(tags=["uploads"])

#: Cases of a run, processes of one, and parts that one request may ask about.
MOST_OF_RUN, MOST_PROCESSES, MOST_PARTS = 1_000_000, 10_000, 20

#: `bounds.RUN_ID` with its length beside it: pydantic's patterns cannot look ahead.
_RUN_ID = "^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$"
RunId = Annotated[str, Path(pattern=_RUN_ID, max_length=100, description="The run's id.")]
_Document = dict[str, Any]
_Count = Annotated[int, Field(ge=0, le=MOST_OF_RUN), Strictly]


class HeadRequest(Given):
    """A run without results: the entries of a JSON export, with neither results nor processes; and its digest."""

    run: _Document
    digest: str = Field(min_length=1, max_length=200, description="What is equal for runs of the same sweep.")


class EntryRequest(Given):
    """A case with its visits, as JSON."""

    case: _Document
    visits: list[_Document] = Field(max_length=MOST_PROCESSES)


class EntriesRequest(Given):
    """Cases that follow one another in the run, each with all its visits."""

    entries: list[EntryRequest] = Field(min_length=1, max_length=MOST_CASES)


class PartRequest(Given):
    """A part of a run: the position of its first case, the number of its cases, and its fingerprint."""

    first: _Count
    cases: Annotated[int, Field(ge=1, le=MOST_CASES), Strictly]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class PartsRequest(Given):
    """Parts of a run that the sender has."""

    parts: list[PartRequest] = Field(max_length=MOST_PARTS)


class EndRequest(Given):
    """How a run ended, or `running` where it is not over; the facts of its processes, and the number of its cases."""

    state: RunState
    finished_at: Annotated[str, Field(max_length=60)] | None
    processes: list[_Document] = Field(max_length=MOST_PROCESSES)
    cases: _Count


class UploadAnswer(BaseModel):
    """What is stored of a run that is being sent: its state, and the number of its cases."""

    id: str
    state: RunState
    cases: int


class LackingAnswer(BaseModel):
    """The first positions of those parts that are not stored as the sender has them."""

    lacking: list[int]


@router.put("/runs/{run_id}/upload", status_code=HTTPStatus.OK)
def begin(service: TheService, sender: Reporter, run_id: RunId, body: HeadRequest) -> UploadAnswer:
    """Begin to send a run, or go on with it. Nothing more is needed where the answer says `finished`."""
    run = service.pages.head(body.run)
    if run.id != run_id:
        raise RequestError("the id of the run is not that of the address")
    state, cases = Receiving(service.store).begin(run, body.digest)
    return UploadAnswer(id=run_id, state=state, cases=cases)


@router.put("/runs/{run_id}/upload/entries/{first}")
def part(
    service: TheService,
    sender: Reporter,
    request: Request,
    run_id: RunId,
    first: Annotated[int, Path(ge=0, lt=MOST_OF_RUN, description="The position of its first case, from 0.")],
    body: EntriesRequest,
) -> UploadAnswer:
    """Store cases with their visits, in place of what was stored of these cases."""
    entries = [
        Entry(case=case_from_json(one.case), visits=[visit_from_json(visit) for visit in one.visits])
        for one in body.entries
    ]
    cases = Receiving(service.store).part(run_id, first, entries)
    request.state.who = None  # the list of writes has the beginning and the end of a run
    return UploadAnswer(id=run_id, state=RunState.RUNNING, cases=cases)


@router.post("/runs/{run_id}/upload/lacking")
def lacking(
    service: TheService, sender: Reporter, request: Request, run_id: RunId, body: PartsRequest
) -> LackingAnswer:
    """Say which of these parts are not stored, or otherwise than the sender has them."""
    request.state.who = None  # it writes nothing
    here = Parts(service.store, run_id)
    known = [Part(first=one.first, cases=one.cases, sha256=one.sha256) for one in body.parts]
    return LackingAnswer(lacking=[one.first for one in known if not here.has(one)])


@router.post("/runs/{run_id}/upload/end")
def end(service: TheService, sender: Reporter, run_id: RunId, body: EndRequest) -> UploadAnswer:
    """Store how the run ended. A finished one is never changed again; another one may be sent on later."""
    state = Receiving(service.store).end(
        run_id,
        body.state,
        body.finished_at,
        [process_facts_from_json(one) for one in body.processes],
        cases=body.cases,
    )
    return UploadAnswer(id=run_id, state=state, cases=body.cases)
