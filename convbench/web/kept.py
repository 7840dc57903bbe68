"""Answers that are kept while nothing in the database changes, so that many readers of one list cost little.

A route says that its answer may be kept: it depends on the database and on who asks, and on nothing else. An answer is
kept under the change counter that was read before it was made, so whatever is committed later makes it anew. It is
forgotten when a token expires too, since that may change who asks.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from convbench.actions.jobs import now
from convbench.store.changes import Changes
from convbench.store.store import Store
from convbench.store.tokens import Tokens

#: Answers that are kept, and bytes of one.
MOST_KEPT, MOST_BYTES = 64, 2**18
#: The entry of a request's state by which a route says that its answer may be kept.
_MAY = "may_be_kept"

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """The start and the body of an answer with status 200; `route` is what it came from."""

    headers: Headers
    body: bytes
    route: Any


class Kept:
    """The answers of one service that are kept. Methods may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._changes, self._tokens = Changes(store.at), Tokens(store)
        self._lock = threading.Lock()
        self._counter: object = None
        self._until: str | None = None
        self._answers: dict[object, Answer] = {}

    def counter(self) -> object:
        """What is equal at two moments only if nothing was stored between them; None where nothing can be kept."""
        return self._changes.counter()

    def get(self, key: object, counter: object) -> Answer | None:
        """The answer that is kept for a request and still right, where the database has this counter."""
        with self._lock:
            if counter is None or counter != self._counter or (self._until is not None and now() >= self._until):
                return None
            return self._answers.get(key)

    def put(self, key: object, counter: object, answer: Answer) -> None:
        """Keep an answer that was made after `counter` was read. Raises StoreError where the database is away."""
        if len(answer.body) > MOST_BYTES:
            return
        asked_at = now()
        until = self._tokens.next_expiry(asked_at)
        with self._lock:
            if counter != self._counter or (self._until is not None and asked_at >= self._until):
                self._answers.clear()
                self._counter, self._until = counter, until
            if len(self._answers) < MOST_KEPT:
                self._answers[key] = answer

    def close(self) -> None:
        """Forget everything."""
        self._changes.close()
        with self._lock:
            self._answers.clear()


def may_be_kept(request: Request, *, if_true: bool = True) -> None:
    """Say that the answer to this request depends on the database and on who asks, and on nothing else."""
    setattr(request.state, _MAY, if_true)


def is_to_be_kept(scope: MutableMapping[str, Any]) -> bool:
    """Whether a route has said so."""
    return bool(scope["state"].get(_MAY, False))


#: What, beside the address, an answer depends on: who asks (access.py), and what comes through a proxy.
_HEADERS = (b"authorization", b"cookie", b"host", b"forwarded", b"via", b"x-real-ip")
_BEGINNING = b"x-forwarded-"


def key_of(scope: MutableMapping[str, Any]) -> object:
    """What is equal for requests with the same answer. It holds no token, only a hash of what has one."""
    client = scope.get("client") or ("",)
    return scope["path"], scope["query_string"], client[0], _hash_of(scope["headers"])


def _hash_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    some = [one for one in headers if one[0] in _HEADERS or one[0].startswith(_BEGINNING)]
    return hashlib.sha256(repr(some).encode()).digest()
