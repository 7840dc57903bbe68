"""Sweeps: those that come with convbench, and the check of a text before it is submitted."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request

from convbench.actions import jobs as verbs
from convbench.errors import RequestError, SweepError
from convbench.sweep import shipped_sweeps
from convbench.web.access import Reader, Submitter
from convbench.web.answers import CheckAnswer, ShippedSweep, SweepRequest
from convbench.web.answers_jobs import CapturedAnswer, CaptureRequest
from convbench.web.helper import BusyError, TooLongError
from convbench.web.problems import NotThereError
from convbench.web.state import TheService

router = APIRouter(tags=["sweeps"])


@router.get("/sweeps")
def list_sweeps(reader: Reader) -> list[ShippedSweep]:
    """List the sweeps that come with convbench, with their texts."""
    return [ShippedSweep(name=name, sweep=shipped_sweeps.text_of(name)) for name in shipped_sweeps.NAMES]


@router.get("/sweeps/{name}")
def get_sweep(reader: Reader, name: Annotated[str, Path(min_length=1, max_length=100)]) -> ShippedSweep:
    """Get a sweep that comes with convbench."""
    try:
        return ShippedSweep(name=name, sweep=shipped_sweeps.text_of(name))
    except RequestError as error:
        raise NotThereError(error.message, hint=error.hint) from None


@router.post("/sweeps/check")
def check(service: TheService, sender: Submitter, request: Request, body: SweepRequest) -> CheckAnswer:
    """Check a sweep's text: what it would measure, or all its mistakes with their lines."""
    request.state.who = None  # it writes nothing, so the list of writes leaves it out
    try:
        found = service.pages.check(body.sweep)
    except SweepError as error:
        return CheckAnswer.of_wrong(error.message, error.mistakes)
    except (BusyError, TooLongError):
        raise
    except RequestError as error:
        return CheckAnswer.of_wrong(error.message)
    refused = None
    try:
        verbs.refuse_code(found, trust_modules=service.settings.trust_modules)
    except RequestError as error:
        refused = error.message
    return CheckAnswer.of(found, refused)


@router.post("/sweeps/capture")
def capture(service: TheService, sender: Submitter, request: Request, body: CaptureRequest) -> CapturedAnswer:
    """Capture the convolutions of a model as a sweep, which is not submitted yet. The service imports the model."""
    request.state.target = body.model[:100]
    return CapturedAnswer(sweep=service.captured(body))
