"""Who a request comes from, and what it may do: tokens, the cookie that holds one, and this machine's own user.

- A token comes in `Authorization: Bearer`, or in a cookie that is HttpOnly and SameSite=Strict.
- Without a token, anybody may read where the service listens on this machine alone, or was started with --public-read.
- Where there is no token at all and only this machine is served, its user may do everything.
- A page of another site can send requests here. So a request without a bearer token may write only from a page of this
  service.
- A name of another site may be made to lead here. So a request without a token must use a name of this machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from convbench.actions.jobs import now
from convbench.model.token import Scope
from convbench.web.problems import DeniedError
from convbench.web.settings import is_loopback
from convbench.web.state import Service, TheService

COOKIE = "convbench_token"
#: The name in the list of writes of this machine's user, and of a reader without a token.
LOCAL, ANYBODY = "this machine's user", "anybody"
#: Methods that change nothing.
_READING = ("GET", "HEAD", "OPTIONS")
#: Headers of a proxy: what it hands on does not come from this machine's user, although its address is.
_PROXIED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")

#: It stands in the API's description; `_who` reads the header itself.
_bearer = HTTPBearer(auto_error=False, description="A token of `convbench token create`.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Who sends a request. `has_token` is whether a token, in a header or a cookie, says so."""

    name: str
    scopes: frozenset[Scope]
    has_token: bool = False
    by_cookie: bool = False

    def may(self, scope: Scope) -> bool:
        """Whether the scope is theirs."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


def who(request: Request, service: Service) -> Who:
    """Who sends the request; raises DeniedError for a token that is not valid, and for a name of another machine."""
    given = request.headers.get("authorization")
    text = request.cookies.get(COOKIE)
    if given is not None:
        kind, _, text = given.partition(" ")
        if kind.lower() != "bearer":
            raise DeniedError(HTTPStatus.UNAUTHORIZED, "expected a bearer token", hint="Authorization: Bearer TOKEN")
    if text is not None:
        token = service.tokens.find(text.strip(), now())
        if token is not None:
            return Who(name=token.name, scopes=token.scopes, has_token=True, by_cookie=given is None)
        if given is not None:
            raise DeniedError(
                HTTPStatus.UNAUTHORIZED, "the token is unknown, revoked or expired", hint="`convbench token create`"
            )
    return _without_token(request, service)


def _without_token(request: Request, service: Service) -> Who:
    settings = service.settings
    if settings.public_read:
        return Who(name=ANYBODY, scopes=frozenset({Scope.READ}))
    if not _is_here(request, service):
        return Who(name=ANYBODY, scopes=frozenset())
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    if not is_loopback(host):
        raise DeniedError(
            HTTPStatus.FORBIDDEN,
            f"{host[:100]!r} is no name of this machine, and the request has no token",
            hint=f"open http://127.0.0.1:{settings.port}, or give a token",
        )
    if service.tokens.any_valid(now()):
        return Who(name=LOCAL, scopes=frozenset({Scope.READ}))
    return Who(name=LOCAL, scopes=frozenset(Scope))


def _is_here(request: Request, service: Service) -> bool:
    """Whether the request comes from this machine, and not through a proxy on it."""
    client = request.client.host if request.client else ""
    proxied = service.settings.root_path or any(name in request.headers for name in _PROXIED)
    return service.settings.is_local and is_loopback(client) and not proxied


def _check_origin(request: Request, found: Who) -> None:
    """Raise DeniedError for a write that a page of another site may have sent in the reader's name."""
    if not found.has_token or found.by_cookie:
        check_origin(request, by_cookie=found.by_cookie)


def check_origin(request: Request, *, by_cookie: bool = False) -> None:
    """Raise DeniedError where a browser sends the request from a page of another site."""
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    if origin is None and not by_cookie and request.headers.get("sec-fetch-site") in (None, "same-origin"):
        return  # no browser: a browser names the origin of each write
    if origin is None or urlsplit(origin).netloc.lower() != host.lower():
        raise DeniedError(
            HTTPStatus.FORBIDDEN,
            "the request comes from a page of another site",
            hint="use the pages of this service, or a token in `Authorization: Bearer`",
        )


def needs(scope: Scope) -> Callable[..., Who]:
    """The dependency of a route that needs a scope; it returns who sends the request, and raises DeniedError."""

    def found(request: Request, service: TheService, _: Annotated[object, Depends(_bearer)] = None) -> Who:
        sender = who(request, service)
        if not sender.may(scope):
            status = HTTPStatus.FORBIDDEN if sender.has_token else HTTPStatus.UNAUTHORIZED
            raise DeniedError(
                status, f"this needs the scope `{scope}`", hint="give a token that has it: `convbench token create`"
            )
        if request.method not in _READING:
            _check_origin(request, sender)
            request.state.who = sender.name
        return sender

    return found


Reader = Annotated[Who, Depends(needs(Scope.READ))]
Submitter = Annotated[Who, Depends(needs(Scope.SUBMIT))]
Reporter = Annotated[Who, Depends(needs(Scope.REPORT))]
Admin = Annotated[Who, Depends(needs(Scope.ADMIN))]
