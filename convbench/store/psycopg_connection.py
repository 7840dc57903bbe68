"""A connection to PostgreSQL that waits no longer for an answer than `patience` says, and that Ctrl-C ends at once.

Needs psycopg, which whoever has an SQLite database may lack: imported where a server is named, nowhere else.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Self, TypeVar

import psycopg
from psycopg import waiting
from psycopg.abc import PQGen

from convbench.store.patience import patience

#: How often a wait looks at the clock, seconds.
_TICK_S = 0.1

_Answer = TypeVar("_Answer")

# What psycopg cannot do in order on a connection that was closed, it tells in its log. Without any handler Python
# would print that, beside what the user is told.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


class PatientConnection(psycopg.Connection[Any]):
    """A connection that is closed when the server was silent for too long, or when a wait was interrupted.

    psycopg itself has no limit, and after Ctrl-C it waits up to 10 s more for the server to cancel. One that was closed
    is cleared away by the server: what was not committed is undone.
    """

    @classmethod
    def opened(cls, *arguments: Any, **settings: Any) -> Self:
        """Connect as psycopg does, within the time that `patience` leaves."""
        now = patience()
        if now.is_over:
            raise _SilentError(now.seconds)
        timeout = _shorter(settings.get("connect_timeout", 0), now.seconds)
        return cls.connect(*arguments, **{**settings, "connect_timeout": timeout})

    def wait(self, gen: PQGen[_Answer], interval: float = _TICK_S, timeout: float | None = None) -> _Answer:
        """What psycopg's generator comes to. Raises OperationalError where nothing comes for too long."""
        try:
            return waiting.wait(_listened(gen, timeout), self.pgconn.socket, interval=interval)
        except (_SilentError, KeyboardInterrupt):
            self.pgconn.finish()
            raise


def _shorter(given: str | float, seconds: float) -> str | float:
    """The timeout that was given, where it is the shorter one; libpq takes what is not above 0 for no limit."""
    try:
        is_shorter = 0 < float(given) <= seconds
    except ValueError:  # psycopg will say so
        return given
    return given if is_shorter else round(seconds)


class _SilentError(psycopg.OperationalError):
    """The server did not answer in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"nothing came over the connection for {seconds:.0f} s")


def _listened(steps: PQGen[_Answer], timeout: float | None) -> PQGen[_Answer]:
    """The same steps, until nothing has come for too long. psycopg goes on with them at every tick, ready or not."""
    now = patience()
    limit_s = now.seconds if timeout is None else min(timeout, now.seconds)
    heard = time.monotonic()
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if ready:
                heard = time.monotonic()
            elif time.monotonic() - heard > limit_s:
                now.is_over = True
                raise _SilentError(limit_s)
            wanted = steps.send(ready)
    except StopIteration as ended:
        answer: _Answer = ended.value
        return answer
