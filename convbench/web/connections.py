"""Closes connections whose client sends no request: uvicorn waits for the rest of a request's head for ever."""

from __future__ import annotations

import asyncio
import resource
from contextlib import suppress

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

#: Seconds that a connection may be without a request. A body has a limit of its own (around.py).
HEAD_S = 30.0


class Connection(H11Protocol):
    """A connection of a client. It is closed where no request was under way for HEAD_S seconds."""

    _timer: asyncio.TimerHandle | None = None
    _seen: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it too
        """Begin to watch."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Close it where it is without a request, and has had none since the last look."""
        if (self.cycle is None or self.cycle.response_complete) and self.cycle is self._seen:
            self.transport.close()
            return
        self._seen = self.cycle
        self._timer = self.loop.call_later(HEAD_S, self._look)


def allow_many() -> None:
    """Let this process have as many connections and files open as the system allows: a stream is a connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
