"""Errors as answers: `application/problem+json` (RFC 9457) for the API, a page for a browser."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from convbench.errors import (
    ChannelNotFoundError,
    ConflictError,
    ConvbenchError,
    DatabaseError,
    JobNotFoundError,
    NotComparableError,
    RequestError,
    RunNotFoundError,
    ScheduleNotFoundError,
    SweepError,
    TokenNotFoundError,
)
from convbench.units import without_credentials
from convbench.web.answers import API, MistakeAnswer, Problem
from convbench.web.answers_jobs import KINDS
from convbench.web.helper import BusyError
from convbench.web.logs import logger
from convbench.web.pages import NoRoomError
from convbench.web.views.frame import problem_page

MEDIA_TYPE = "application/problem+json"
#: Seconds after which a client may try again where the service or its database is busy.
RETRY_S = 5


class NothingMoreError(Exception):
    """A stream of events has ended: 204 keeps a browser from asking for it again."""


class ElsewhereError(Exception):
    """A page has another address, to which a browser goes by itself."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


class NotThereError(RequestError):
    """What the request names is not there."""


class DeniedError(ConvbenchError):
    """The request may not do this: 401 where a token is missing or wrong, 403 where it is of no use."""

    def __init__(self, status: HTTPStatus, message: str, *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.status = status


#: The status of the answer to each error of convbench; the first class that fits decides.
_STATUSES: tuple[tuple[type[ConvbenchError], HTTPStatus], ...] = (
    (RunNotFoundError, HTTPStatus.NOT_FOUND),
    (JobNotFoundError, HTTPStatus.NOT_FOUND),
    (ScheduleNotFoundError, HTTPStatus.NOT_FOUND),
    (TokenNotFoundError, HTTPStatus.NOT_FOUND),
    (ChannelNotFoundError, HTTPStatus.NOT_FOUND),
    (NotThereError, HTTPStatus.NOT_FOUND),
    (SweepError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (NotComparableError, HTTPStatus.CONFLICT),
    (ConflictError, HTTPStatus.CONFLICT),
    (DatabaseError, HTTPStatus.SERVICE_UNAVAILABLE),
    (BusyError, HTTPStatus.SERVICE_UNAVAILABLE),
    (NoRoomError, HTTPStatus.SERVICE_UNAVAILABLE),
)


#: What to do instead, where the hint of an error names a command and its readers are here.
_HINTS: tuple[tuple[type[ConvbenchError], str], ...] = (
    (RunNotFoundError, "the page of runs has all ids, and the page of a run names its baselines"),
    (TokenNotFoundError, "the page of tokens has their prefixes"),
    (NotComparableError, "`across_environments=true` compares them anyway"),
)
#: An option by which a command captures a model, and the entry of the API that is the same.
_OPTION = re.compile(r"--(input|arg|budget|real)\b")
_ENTRIES = {"arg": "arguments"}


def in_words_of_the_api(error: RequestError) -> RequestError:
    """The error of a capture with the entries of the API in place of a command's options.

    The error itself is returned where it names none: its class may decide the status.
    """
    hint = error.hint and _entries_in(error.hint)
    message = _entries_in(error.message)
    return error if (message, hint) == (error.message, error.hint) else RequestError(message, hint=hint)


def _entries_in(text: str) -> str:
    return _OPTION.sub(lambda found: f"`{_ENTRIES.get(found[1], found[1])}`", text)


def _hint_of(error: ConvbenchError) -> str | None:
    """What to do, for somebody who reads a page or uses the API."""
    if error.hint and ("`convbench " in error.hint or error.hint.startswith("--")):
        return next((hint for kind, hint in _HINTS if isinstance(error, kind)), error.hint)
    return error.hint


def of_error(request: Request, error: Exception) -> Response:
    """The answer to an error of convbench."""
    assert isinstance(error, ConvbenchError)
    if isinstance(error, DeniedError):
        status = error.status
    else:
        status = next((status for kind, status in _STATUSES if isinstance(error, kind)), HTTPStatus.BAD_REQUEST)
        if error.exit_code >= 70:
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            logger.error("a fault", extra={"facts": {"error": error.message}})
    mistakes = None
    if isinstance(error, SweepError):
        mistakes = [MistakeAnswer.of(one) for one in error.mistakes]
    found = Problem(
        title=status.phrase,
        status=status,
        detail=without_credentials(error.message),
        hint=(hint := _hint_of(error)) and without_credentials(hint),
        mistakes=mistakes,
    )
    return answer(request, found)


def of_invalid(request: Request, error: Exception) -> Response:
    """The answer to a request whose parameters or body are not as the API has them."""
    assert isinstance(error, RequestValidationError)
    wrong = [f"{_place(one['loc'])}: {one['msg']}".encode("utf-8", "replace").decode() for one in error.errors()]
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    return answer(request, Problem(title=status.phrase, status=status, detail="; ".join(wrong[:10])))


def _place(parts: Sequence[str | int]) -> str:
    """Where a mistake is: `body.fleet.how`. A body of several kinds has its kind's name as well, which is left out."""
    if len(parts) > 2 and parts[1] in KINDS:
        parts = (parts[0], *parts[2:])
    return ".".join(map(str, parts))


def of_http(request: Request, error: Exception) -> Response:
    """The answer to an error of the framework: no such path, another method, a body that is too large."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    if status is HTTPStatus.METHOD_NOT_ALLOWED and (allowed := _allowed(request)):
        headers["Allow"] = ", ".join(allowed)
    found = Problem(title=status.phrase, status=status, detail=str(error.detail))
    return answer(request, found, headers)


def _allowed(request: Request) -> list[str]:
    """The methods of a path of the API; the framework names those of one route alone."""
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    paths = request.app.openapi()["paths"]
    found: set[str] = set()
    for pattern, operations in {path: paths[path]}.items() if path in paths else paths.items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), path):
            found.update(method.upper() for method in operations)
    return sorted(found)


def of_fault(request: Request, error: Exception) -> Response:
    """The answer to a fault of the service, which the log has with its traceback."""
    logger.error("a fault while a request was answered", exc_info=error)
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    found = Problem(
        title=status.phrase, status=status, detail="the service has a fault", hint="its log has the reason; report it"
    )
    return answer(request, found)


def of_nothing_more(request: Request, error: Exception) -> Response:
    """The answer to a stream that has ended."""
    return Response(status_code=HTTPStatus.NO_CONTENT)


#: The headings of pages that say what was wrong. The API has the phrases of HTTP.
_TITLES = {
    400: "This cannot be done",
    401: "A token is needed",
    403: "This is not allowed",
    404: "This is not here",
    405: "This cannot be done",
    409: "This contradicts what is stored",
    422: "The address is not right",
    500: "The service has a fault",
    503: "The service cannot answer now",
}


def of_elsewhere(request: Request, error: Exception) -> Response:
    """The answer that leads to another address."""
    assert isinstance(error, ElsewhereError)
    return RedirectResponse(error.address, status_code=HTTPStatus.SEE_OTHER)


def answer(request: Request, problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """The problem as JSON, or as a page for a browser outside the API."""
    given = dict(headers or {})
    if problem.status == HTTPStatus.UNAUTHORIZED:
        given["WWW-Authenticate"] = "Bearer"
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        given["Retry-After"] = str(RETRY_S)
    if request.url.path.removeprefix(request.scope.get("root_path", "")).startswith(f"{API}/"):
        return JSONResponse(
            problem.model_dump(exclude_none=True), status_code=problem.status, media_type=MEDIA_TYPE, headers=given
        )
    asks = problem.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    page = problem_page(
        request, _TITLES.get(problem.status, problem.title), problem.detail, problem.hint, asks_for_token=asks
    )
    return HTMLResponse(page, status_code=problem.status, headers=given)
