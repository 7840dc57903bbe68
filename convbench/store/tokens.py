"""Tokens of the service and the list of writes. A token is shown once; only its hash is stored.

A token is 32 random bytes, so a plain SHA-256 keeps it: a slow hash is for passwords, which people choose.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence

from sqlalchemy import func, insert, or_, select, update

from convbench.errors import StoreError, TokenNotFoundError
from convbench.model.token import Scope, Token, Write
from convbench.store import schema
from convbench.store.runs import AnyRow
from convbench.store.store import Store

#: How a token begins, so that scanners of leaked secrets find it: `cvb_`, 8 characters that lists show, `_`, the rest.
BEGINNING = "cvb_"
#: Random bytes of a token.
RANDOM_BYTES = 32
#: Characters of the part that lists show.
_PREFIX_CHARACTERS = 8
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
#: The most entries of the list of writes that stay; older ones are deleted as new ones come.
MOST_WRITES = 100_000

_tokens, _audit = schema.tokens.c, schema.audit.c


class Tokens:
    """The tokens in a database, and who wrote what. Methods raise StoreError where the database cannot do it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, name: str, scopes: Collection[Scope], now: str, expires_at: str | None) -> tuple[Token, str]:
        """Store a new token; returns it and its text, which is nowhere else and cannot be shown again."""
        prefix = "".join(secrets.choice(_LETTERS) for _ in range(_PREFIX_CHARACTERS))
        text = f"{BEGINNING}{prefix}_{secrets.token_urlsafe(RANDOM_BYTES)}"
        token = Token(name=name, prefix=prefix, scopes=frozenset(scopes), created_at=now, expires_at=expires_at)
        with self._store.writing() as connection:
            connection.execute(
                insert(schema.tokens),
                {
                    "name": name,
                    "prefix": prefix,
                    "hash": _hash(text),
                    "scopes": ",".join(sorted(scopes)),
                    "created_at": now,
                    "expires_at": expires_at,
                },
            )
        return token, text

    def find(self, text: str, now: str) -> Token | None:
        """The token with this text; None where there is none, and where it is revoked or expired."""
        if not text.startswith(BEGINNING):
            return None
        with self._store.reading() as connection:
            row = connection.execute(select(schema.tokens).where(_tokens.hash == _hash(text))).one_or_none()
        token = None if row is None else _token(row)
        return token if token is not None and token.is_valid(now) else None

    def list(self) -> Sequence[Token]:
        """All tokens, the newest first, revoked and expired ones too."""
        with self._store.reading() as connection:
            rows = connection.execute(select(schema.tokens).order_by(_tokens.key.desc())).all()
        return [_token(row) for row in rows]

    def any_valid(self, now: str) -> bool:
        """Whether there is a token that is neither revoked nor expired."""
        valid = (_tokens.revoked_at.is_(None), or_(_tokens.expires_at.is_(None), _tokens.expires_at > now))
        with self._store.reading() as connection:
            return bool(connection.execute(select(func.count()).select_from(schema.tokens).where(*valid)).scalar())

    def next_expiry(self, now: str) -> str | None:
        """When the next valid token expires; None where none will."""
        later = (_tokens.revoked_at.is_(None), _tokens.expires_at > now)
        with self._store.reading() as connection:
            found: str | None = connection.execute(select(func.min(_tokens.expires_at)).where(*later)).scalar()
            return found

    def revoke(self, prefix: str, now: str) -> Token:
        """Revoke the token with this prefix at once; a token that is revoked stays so. Raises TokenNotFoundError."""
        with self._store.writing() as connection:
            there = _tokens.prefix == prefix
            connection.execute(update(schema.tokens).where(there, _tokens.revoked_at.is_(None)).values(revoked_at=now))
            row = connection.execute(select(schema.tokens).where(there)).one_or_none()
        if row is None:
            raise TokenNotFoundError(f"there is no token {prefix!r}", hint="`convbench token list` has their prefixes")
        return _token(row)

    def note_write(self, *, at: str, who: str, address: str, action: str, target: str, status: int) -> None:
        """Add an entry to the list of writes, and delete the oldest ones beyond `MOST_WRITES`."""
        row = {"at": at, "who": who, "address": address, "action": action, "target": target, "status": status}
        with self._store.writing() as connection:
            key = connection.execute(insert(schema.audit).returning(_audit.key), row).scalar_one()
            if key > MOST_WRITES:
                connection.execute(schema.audit.delete().where(_audit.key <= key - MOST_WRITES))

    def writes(self, *, before: int | None = None, most: int = 100) -> Sequence[Write]:
        """Entries of the list of writes, the newest first, with keys under `before`."""
        query = select(schema.audit).order_by(_audit.key.desc()).limit(most)
        if before is not None:
            query = query.where(_audit.key < before)
        with self._store.reading() as connection:
            rows = connection.execute(query).all()
        return [Write(**{name: getattr(row, name) for name in Write.__slots__}) for row in rows]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _token(row: AnyRow) -> Token:
    try:
        scopes = frozenset(Scope(scope) for scope in row.scopes.split(",") if scope)
    except ValueError:
        raise StoreError(f"token {row.prefix} has an unknown scope", hint="revoke it and create another one") from None
    return Token(
        name=row.name,
        prefix=row.prefix,
        scopes=scopes,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
