"""How long a command, or a run between two blocks, waits for an answer of a database server.

A server that was stopped, or whose host hangs, keeps its connections: the kernel accepts data, and no answer arrives.
No setting of TCP or of the server ends such a wait, so the client must end it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

#: How long a server may be silent during a statement, seconds. It is longer than the lock timeout, which the server
#: reports as an error.
ANSWER_S = 60.0


@dataclass(slots=True, kw_only=True)
class Patience:
    """How long the server may be silent, seconds. `is_over` is set once it was; then no more queries are sent."""

    seconds: float
    is_over: bool = False


_patience: ContextVar[Patience | None] = ContextVar("patience", default=None)


@contextmanager
def answering_within(seconds: float) -> Iterator[None]:
    """Limit the wait for each answer of a server, including the accepted connection, to `seconds`.

    After the first timeout nothing waits any more. Of two nested blocks the inner one applies.
    """
    token = _patience.set(Patience(seconds=seconds))
    try:
        yield
    finally:
        _patience.reset(token)


def patience() -> Patience:
    """The limit for the exchange that begins now."""
    return _patience.get() or Patience(seconds=ANSWER_S)
