"""Tokens of the service: who may do what. Frozen data; the token itself is nowhere kept."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a token allows. A wider scope does not contain a narrower one, except that ADMIN contains all."""

    READ = "read"
    SUBMIT = "submit"
    REPORT = "report"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as stored, without its secret part. Times are ISO 8601 in UTC, None where there is none."""

    name: str
    prefix: str
    scopes: frozenset[Scope]
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None

    def allows(self, scope: Scope) -> bool:
        """Whether it has the scope, or the one that contains all."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def is_valid(self, now: str) -> bool:
        """Whether it is neither revoked nor expired at this time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """An entry of the list of writes: who did what, from which address, to which thing, and the answer's status."""

    key: int
    at: str
    who: str
    address: str
    action: str
    target: str
    status: int
