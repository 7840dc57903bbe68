"""How long an answer of a database server is waited for: by a command, and by a run between two blocks.

A server that was stopped, or whose host hangs, keeps its connections: the kernel takes what is sent, and no answer
comes. No setting of TCP or of the server ends such a wait; the client must.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

#: How long a server may be silent during a statement, seconds: longer than it waits for a lock, which it tells of.
ANSWER_S = 60.0


@dataclass(slots=True, kw_only=True)
class Patience:
    """How long the server may be silent, seconds; `is_over` once it was silent for that long: nothing more is asked."""

    seconds: float
    is_over: bool = False


_patience: ContextVar[Patience | None] = ContextVar("patience", default=None)


@contextmanager
def answering_within(seconds: float) -> Iterator[None]:
    """Wait no longer for any answer of a server, one that it lets us in included; after the first silence, not at all.

    The inner of two such blocks counts.
    """
    token = _patience.set(Patience(seconds=seconds))
    try:
        yield
    finally:
        _patience.reset(token)


def patience() -> Patience:
    """What holds for the exchange that begins now."""
    return _patience.get() or Patience(seconds=ANSWER_S)
