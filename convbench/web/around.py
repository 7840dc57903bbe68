"""What happens around every request: limits of its body, headers of safety, the log, figures, the list of writes."""

from __future__ import annotations

import time
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request

from convbench import units
from convbench.actions.jobs import now
from convbench.errors import ConvbenchError, RequestError
from convbench.model.token import Scope
from convbench.web.access import who
from convbench.web.answers import API
from convbench.web.logs import logger
from convbench.web.state import Service

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

#: Maximum size of a request's body, bytes, and how long a client may take to send it, seconds.
MOST_BODY, BODY_S = 2 * 2**20, 30.0

#: The same for a part of a run that is sent here, and what its path has.
MOST_UPLOAD, _UPLOAD = 16 * 2**20, "/upload"

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
            most = MOST_BODY
            if _UPLOAD in scope["path"] and await anyio.to_thread.run_sync(self._may_upload, scope):
                most = MOST_UPLOAD
            await self._app(scope, _limited(scope, receive, most), sent)
        finally:
            self._note(scope, status, time.monotonic() - began if seconds is None else seconds)

    def _may_upload(self, scope: MutableMapping[str, Any]) -> bool:
        """Whether the sender may send runs. The route answers those who may not; a body is read before it."""
        with suppress(ConvbenchError):
            return who(Request(scope), self._service).may(Scope.REPORT)
        return False

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


def _limited(scope: MutableMapping[str, Any], receive: Receive, most: int) -> Receive:
    """The body of a request, as it arrives and unpacked.

    Raises HTTPException where it has more than `most` bytes, comes too slowly or is not packed as it says.
    """
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"")
    too_large = HTTPException(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has {units.size(most)} at most; give less at a time"
    )
    got = 0
    unpacked: Callable[[bytes, int, bool], bytes] | None = None
    end = anyio.current_time() + BODY_S
    is_whole = False

    async def received() -> Message:
        nonlocal got, is_whole, unpacked
        if length.isdigit() and int(length) > most:
            raise too_large
        unpacked = unpacked or _unpacker(headers.get(b"content-encoding", b"identity"))
        if is_whole:
            return await receive()  # it waits for the client to leave
        try:
            with anyio.fail_at(end):
                message = await receive()
        except TimeoutError:
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {BODY_S:.0f} s") from None
        if message["type"] == "http.request":
            is_whole = not message.get("more_body", False)
            body = unpacked(message.get("body", b""), most - got + 1, is_whole)
            got += len(body)
            if got > most:
                raise too_large
            message = {**message, "body": body}
        return message

    return received


def _unpacker(encoding: bytes) -> Callable[[bytes, int, bool], bytes]:
    """A function that unpacks a piece of a body: given the most bytes to return, and whether it is the last one.

    The piece may have more than the most bytes; the rest is left out, since a small body may unpack to a huge one.
    Raises HTTPException for a body that is not packed as `encoding` says.
    """
    if encoding.lower() == b"identity":
        return lambda piece, most, is_last: piece
    if encoding.lower() != b"gzip":
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a body may be compressed by gzip", headers={"Accept-Encoding": "gzip"}
        )
    unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def unpacked(piece: bytes, most: int, is_last: bool) -> bytes:
        try:
            found = unpacking.decompress(piece, max(most, 1))
        except zlib.error as error:
            raise HTTPException(HTTPStatus.BAD_REQUEST, f"the body is not gzip: {error}") from None
        if is_last and not unpacking.eof and len(found) < most:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "the body is not gzip: its end is missing")
        return found

    return unpacked
