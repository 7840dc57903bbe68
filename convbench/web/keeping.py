"""Answers requests from what is kept (kept.py), and keeps what routes say may be kept.

Where many ask for one list at once after a change, the first request makes it and the others wait for that one.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import anyio

from convbench.errors import RequestError
from convbench.web import kept
from convbench.web.around import App, Message, Receive, Send
from convbench.web.state import Service

#: Seconds that a request waits for another one that makes the same list.
WAIT_S = 5.0


class Keeping:
    """Wraps the application of a service."""

    def __init__(self, app: App, service: Service) -> None:
        self._app, self._service = app, service
        self._known: set[str] = set()  # the paths of answers that were kept: only these are waited for
        self._making: dict[object, anyio.Event] = {}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        counter = self._service.kept.counter()
        if counter is None:
            await self._app(scope, receive, send)
            return
        key = kept.key_of(scope)
        found = await self._found(scope["path"], key, counter)
        if found is None:
            await self._made(scope, receive, send, key, counter)
            return
        scope["route"] = found.route
        await send({"type": "http.response.start", "status": HTTPStatus.OK.value, "headers": list(found.headers)})
        await send({"type": "http.response.body", "body": found.body})

    async def _found(self, path: str, key: object, counter: object) -> kept.Answer | None:
        found = self._service.kept.get(key, counter)
        if found is None and path in self._known and (making := self._making.get((key, counter))) is not None:
            with anyio.move_on_after(WAIT_S):
                await making.wait()
            found = self._service.kept.get(key, counter)
        return found

    async def _made(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send, key: object, counter: object
    ) -> None:
        messages: list[Message] = []

        async def sent(message: Message) -> None:
            if kept.is_to_be_kept(scope):
                messages.append(dict(message))
            await send(message)

        made = anyio.Event()
        mine = self._making.setdefault((key, counter), made) is made
        try:
            await self._app(scope, receive, sent)
            if messages and messages[0].get("status") == HTTPStatus.OK and not messages[-1].get("more_body", False):
                start, *rest = messages
                body = b"".join(message.get("body", b"") for message in rest)
                answer = kept.Answer(start["headers"], body, scope.get("route"))
                with suppress(RequestError):  # where the database is away, nothing is kept
                    await anyio.to_thread.run_sync(self._service.kept.put, key, counter, answer)
                    self._known.add(scope["path"])
        finally:
            if mine:
                del self._making[key, counter]
                made.set()
