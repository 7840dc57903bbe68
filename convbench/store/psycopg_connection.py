"""A connection to PostgreSQL with the time limit of `patience` for each answer, which Ctrl-C ends at once.

Needs psycopg, which users of SQLite may not have installed: import it only where a server is named.
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

# psycopg logs its errors on a connection that was closed. Without any handler Python would print them in addition to
# the message for the user.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


class PatientConnection(psycopg.Connection[Any]):
    """A connection that is closed when the server is silent for too long, or when a wait is interrupted.

    psycopg itself has no time limit. After Ctrl-C it waits for the server to cancel, in version 3.2 without a limit.
    The server releases the resources of a connection that was closed, and rolls back what was not committed.
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
        """The result of psycopg's generator. Raises OperationalError where the server is silent for too long."""
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
            # A suspended generator would report the lost connection when it is garbage-collected.
            with contextlib.suppress(psycopg.Error, RuntimeError):
                gen.close()


def _ready(socket: int, wanted: int, limit_s: float) -> int:
    """The events (reading, writing) for which the socket becomes ready in time; 0 for none."""
    with selectors.DefaultSelector() as selector:
        selector.register(socket, wanted)
        found = selector.select(limit_s)
    return found[0][1] if found else 0


def _shorter(given: str | float, seconds: float) -> str | float:
    """The shorter of the given timeout and `seconds`; libpq treats a timeout of 0 or less as no limit."""
    try:
        is_shorter = 0 < float(given) <= seconds
    except ValueError:  # psycopg will raise its error
        return given
    return given if is_shorter else round(seconds)


class _SilentError(psycopg.OperationalError):
    """The server did not answer in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"nothing came over the connection for {seconds:.0f} s")
