"""Tokens: create, list and revoke them; keep one in the browser; the list of writes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from convbench.actions import tokens as verbs
from convbench.actions.jobs import now
from convbench.web.access import ANYBODY, COOKIE, Admin, check_origin, who
from convbench.web.answers import NewToken, SessionRequest, TokenAnswer, TokenRequest, WhoAnswer, WriteAnswer
from convbench.web.problems import DeniedError
from convbench.web.routes.jobs import MOST_KEY
from convbench.web.state import TheService

router = APIRouter(tags=["tokens"])


@router.get("/tokens")
def list_tokens(service: TheService, admin: Admin) -> list[TokenAnswer]:
    """List all tokens, the newest first, without their secret parts."""
    return [TokenAnswer.of(token) for token in service.tokens.list()]


@router.post("/tokens", status_code=HTTPStatus.CREATED)
def create(service: TheService, admin: Admin, request: Request, body: TokenRequest) -> NewToken:
    """Create a token. The answer has its text, which is shown this once."""
    token, text = verbs.create(service.store, body.name, body.scopes, days=body.days)
    request.state.target = token.prefix
    return NewToken(**TokenAnswer.of(token).model_dump(), token=text)


@router.post("/tokens/{prefix}/revoke")
def revoke(service: TheService, admin: Admin, prefix: Annotated[str, Path(min_length=1, max_length=20)]) -> TokenAnswer:
    """Revoke a token, from now on."""
    return TokenAnswer.of(service.tokens.revoke(prefix, now()))


@router.get("/writes")
def writes(
    service: TheService,
    admin: Admin,
    before: Annotated[int | None, Query(ge=1, le=MOST_KEY, description="The last key of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> list[WriteAnswer]:
    """List who wrote what, the newest first."""
    return [WriteAnswer.of(write) for write in service.tokens.writes(before=before, most=limit)]


@router.get("/session")
def session(service: TheService, request: Request) -> WhoAnswer:
    """Say who sends the request, and what they may do."""
    sender = who(request, service)
    return WhoAnswer(name=sender.name, scopes=sorted(sender.scopes))


@router.post("/session")
def begin(service: TheService, request: Request, response: Response, body: SessionRequest) -> WhoAnswer:
    """Keep a token in the browser: as a cookie that no script can read and no other site can send."""
    check_origin(request)
    token = service.tokens.find(body.token.strip(), now())
    if token is None:
        raise DeniedError(
            HTTPStatus.UNAUTHORIZED, "the token is unknown, revoked or expired", hint="`convbench token create`"
        )
    response.set_cookie(
        COOKIE,
        body.token.strip(),
        path=service.settings.root_path or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
        max_age=400 * 24 * 3600,  # browsers keep none for longer; the token itself expires
    )
    request.state.who = token.name
    return WhoAnswer(name=token.name, scopes=sorted(token.scopes))


@router.post("/session/end")
def end(service: TheService, request: Request, response: Response) -> WhoAnswer:
    """Forget the token in the browser; the token stays valid."""
    check_origin(request)
    response.delete_cookie(COOKIE, path=service.settings.root_path or "/", httponly=True, samesite="strict")
    return WhoAnswer(name=ANYBODY, scopes=[])
