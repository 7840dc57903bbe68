"""A connection to PostgreSQL that waits no longer for an answer than `patience` says, and that Ctrl-C ends at once.

Needs psycopg, which whoever has an SQLite database may lack: imported where a server is named, nowhere else.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
from typing import Any, Self, TypeVar

import psycopg
from psycopg.abc import PQGen

from convbench.store.patience import patience

_Answer = TypeVar("_Answer")

# What psycopg cannot do in order on a connection that was closed, it tells in its log. Without any handler Python
# would print that, beside what the user is told.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


class PatientConnection(psycopg.Connection[Any]):
    """A connection that is closed when the server was silent for too long, or when a wait was interrupted.

    psycopg itself has no limit; after Ctrl-C it waits for the server to cancel, in 3.2 without one. The server
    clears away what belonged to a connection that was closed, and undoes what was not committed.
    """

    @classmethod
    def opened(cls, *arguments: Any, **settings: Any) -> Self:
        """Connect as psycopg does, within the time that `patience` leaves."""
        now = patience()
        if now.is_over:
            raise _SilentError(now.seconds)
        timeout = _shorter(settings.get("connect_timeout", 0), now.seconds)
        return cls.connect(*arguments, **{**settings, "connect_timeout": timeout})

    def wait(self, gen: PQGen[_Answer], interval: float = 0.0, timeout: float | None = None) -> _Answer:
        """What psycopg's generator comes to. Raises OperationalError where nothing comes for too long."""
        now = patience()
        limit_s = now.seconds if timeout is None else min(timeout, now.seconds)
        try:
            wanted = next(gen)
            while True:
                ready = _ready(self.pgconn.socket, wanted, limit_s)
                if not ready:
                    now.is_over = True
                    raise _SilentError(limit_s)
                wanted = gen.send(ready)
        except StopIteration as ended:
            answer: _Answer = ended.value
            return answer
        except (_SilentError, KeyboardInterrupt):
            self.pgconn.finish()
            raise
        finally:
            # A generator that is left suspended complains of the lost connection when it is collected.
            with contextlib.suppress(psycopg.Error, RuntimeError):
                gen.close()


def _ready(socket: int, wanted: int, limit_s: float) -> int:
    """For what of reading and writing the socket becomes ready in time; 0 for nothing."""
    with selectors.DefaultSelector() as selector:
        selector.register(socket, wanted)
        found = selector.select(limit_s)
    return found[0][1] if found else 0


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
