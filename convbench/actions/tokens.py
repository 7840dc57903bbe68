"""Tokens of the service as verbs: create one, list them, revoke one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from convbench.actions.jobs import now
from convbench.errors import RequestError
from convbench.model.nearest import did_you_mean
from convbench.model.token import Scope, Token
from convbench.store.store import Store
from convbench.store.tokens import Tokens

#: Days until a token expires, unless its maker says otherwise, and at most.
USUAL_DAYS = 365
MOST_DAYS = 3650
#: The most characters of a token's name.
LONGEST_NAME = 100
#: What an entry of the list of writes says of a token that was created or revoked by the command.
COMMAND = "the command on the service's machine"
#: The names that a token may have.
NAME = r"[A-Za-z0-9_.@+-]+( [A-Za-z0-9_.@+-]+)*"


def create(store: Store, name: str, scopes: Sequence[str], *, days: int = USUAL_DAYS) -> tuple[Token, str]:
    """Create a token that expires after `days`; returns it and its text, which cannot be shown again.

    Raises RequestError for a name, a scope or a number of days that cannot be.
    """
    if not re.fullmatch(NAME, name) or len(name) > LONGEST_NAME:
        raise RequestError(
            f"a token cannot be called {name!r}",
            hint="letters, digits, . _ @ + - and single spaces, 100 at most: `ci main`",
        )
    if not 1 <= days <= MOST_DAYS:
        raise RequestError(f"days {days}: expected 1 to {MOST_DAYS}")
    expires = datetime.now(UTC) + timedelta(days=days)
    return Tokens(store).create(name, checked_scopes(scopes), now(), expires.isoformat(timespec="microseconds"))


def checked_scopes(scopes: Sequence[str]) -> frozenset[Scope]:
    """The scopes with these names; RequestError for an unknown one, and for none."""
    for scope in scopes:
        if scope not in list(Scope):
            known = ", ".join(Scope)
            raise RequestError(
                f"unknown scope {scope!r}, expected some of {known}", hint=did_you_mean(scope, list(Scope))
            )
    if not scopes:
        raise RequestError("a token needs a scope", hint=f"some of {', '.join(Scope)}")
    return frozenset(Scope(scope) for scope in scopes)


def note_by_command(store: Store, action: str, target: str) -> None:
    """Add to the list of writes what the command did."""
    Tokens(store).note_write(at=now(), who=COMMAND, address="", action=action, target=target, status=0)
