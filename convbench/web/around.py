"""What happens around every request: limits of its body, headers of safety, the log, figures, the list of writes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import anyio
from starlette.exceptions import HTTPException

from convbench import units
from convbench.actions.jobs import now
from convbench.errors import RequestError
from convbench.web.answers import API
from convbench.web.logs import logger
from convbench.web.state import Service

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

#: Maximum size of a request's body, bytes, and how long a client may take to send it, seconds.
MOST_BODY, BODY_S = 2 * 2**20, 30.0

#: Headers of every answer. Pages have scripts, styles and pictures of this service alone.
_SAFETY = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
#: Paths that a monitor asks for again and again; the log leaves them out.
_UNLOGGED = ("/healthz", "/readyz", "/metrics")


class Around:
    """Wraps the application of a service."""

    def __init__(self, app: App, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        began = time.monotonic()
        status = HTTPStatus.INTERNAL_SERVER_ERROR.value
        seconds: float | None = None

        async def sent(message: Message) -> None:
            nonlocal status, seconds
            if message["type"] == "http.response.start":
                status, seconds = message["status"], time.monotonic() - began
                there = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((k.encode(), v.encode()) for k, v in _SAFETY.items() if k.encode() not in there),
                ]
                await self._audit(scope, status)  # before the client can see the answer
            await send(message)

        try:
            await self._app(scope, _limited(scope, receive), sent)
        finally:
            self._note(scope, status, time.monotonic() - began if seconds is None else seconds)

    async def _audit(self, scope: MutableMapping[str, Any], status: int) -> None:
        """Add a write to the list of writes, with its status; not where nobody was let in."""
        name = scope["state"].get("who")
        if name is None:
            return
        client = scope.get("client") or ("",)
        target = ", ".join(map(str, scope.get("path_params", {}).values()))
        target = scope["state"].get("target", target)

        def write() -> None:
            with suppress(RequestError):  # where the database is away, the write itself has failed
                self._service.tokens.note_write(
                    at=now(),
                    who=name,
                    address=client[0],
                    action=f"{scope['method']} {_route(scope)}",
                    target=target,
                    status=status,
                )

        await anyio.to_thread.run_sync(write)

    def _note(self, scope: MutableMapping[str, Any], status: int, seconds: float) -> None:
        route = _route(scope)
        self._service.metrics.answered(scope["method"], route, status, seconds)
        if route not in _UNLOGGED:
            facts = {"method": scope["method"], "path": scope["path"], "status": status, "ms": round(seconds * 1000, 1)}
            logger.info("answered", extra={"facts": facts})


def _route(scope: MutableMapping[str, Any]) -> str:
    """The pattern of a request's path, `/api/v1/jobs/{job_id}`; "none" where there is no such path."""
    pattern: str | None = getattr(scope.get("route"), "path", None)
    if pattern is None:
        return "none"
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return f"{API}{pattern}" if path.startswith(f"{API}/") and not pattern.startswith(API) else pattern


def _limited(scope: MutableMapping[str, Any], receive: Receive) -> Receive:
    """The body of a request, as it arrives; raises HTTPException where it is too large or comes too slowly."""
    length = dict(scope["headers"]).get(b"content-length", b"")
    too_large = HTTPException(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has {units.size(MOST_BODY)} at most; give less at a time"
    )
    got = 0
    end = anyio.current_time() + BODY_S
    is_whole = False

    async def received() -> Message:
        nonlocal got, is_whole
        if length.isdigit() and int(length) > MOST_BODY:
            raise too_large
        if is_whole:
            return await receive()  # it waits for the client to leave
        try:
            with anyio.fail_at(end):
                message = await receive()
        except TimeoutError:
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {BODY_S:.0f} s") from None
        if message["type"] == "http.request":
            got += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if got > MOST_BODY:
                raise too_large
        return message

    return received
