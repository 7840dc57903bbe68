"""The place of a database, by path or URL. Its text and its errors are shown without passwords."""

from __future__ import annotations

import ipaddress
import re
import sqlite3
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from convbench.errors import DatabaseError, RequestError, RunNotFoundError, StoreError
from convbench.store.reasons import ELSEWHERE, meaning
from convbench.units import line

DEFAULT = "reports/convbench.db"

#: Replaces a part of the URL in messages that is or may be a password.
_MASK = "***"
#: Secrets with fewer characters are masked only as whole words, because their letters occur in any sentence.
_SHORTEST_PART = 4
#: A text that is probably a URL without `//`, which would be read as a path.
_LIKE_A_URL = re.compile(r"(?:postgres|mysql|mariadb|oracle|mssql)\w*(?:\+\w+)?:", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A database: an SQLite file, or whatever an SQLAlchemy URL names. As text it never holds a password.

    That also holds for a password at a wrong place of the URL: `postgresql://s3cret/x`,
    `postgresql://joe:s@cret@host/x`. The host is shown where the URL also has a password, or where the host certainly
    is not a password.
    """

    url: URL
    path: Path | None

    @classmethod
    def of(cls, url_or_path: str) -> Place:
        """The place that a user named; StoreError where it is invalid."""
        if "://" not in url_or_path:
            if not url_or_path or "\0" in url_or_path:
                raise StoreError("the database has no name", hint=ELSEWHERE)
            if _LIKE_A_URL.match(url_or_path):
                raise not_understood()
            return cls(url=URL.create("sqlite"), path=Path(url_or_path))
        try:
            url = make_url(url_or_path)
        except (ArgumentError, ValueError):  # its text may hold a password: not repeated
            raise not_understood() from None
        if url.get_backend_name() != "sqlite":
            # SQLAlchemy 2.0 would use psycopg2 for a URL that names no driver.
            return cls(
                url=url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url, path=None
            )
        if not url.database or url.database.startswith((":memory:", "file:")) or url.query:
            raise StoreError(
                "an SQLite database must be a plain file without options",
                hint=f"like {DEFAULT} or sqlite:///{DEFAULT}",
            )
        return cls(url=URL.create("sqlite"), path=Path(url.database))

    def __str__(self) -> str:
        """The path, or the URL's kind of database, host, port and database."""
        if self.path is not None:
            return line(str(self.path))
        where = _MASK
        if self._shows_host:
            where = (self.url.host or ",".join(self._hosts)) + (f":{self.url.port}" if self.url.port else "")
        database = self.url.database or ""
        return line(f"{self.url.get_backend_name()}://{where}/{_MASK if '@' in database else database}")

    @property
    def _hosts(self) -> list[str]:
        return [host for host in (self.url.host, *_values(self.url, "host")) if host]

    @property
    def _shows_host(self) -> bool:
        """Whether no host may be a password at a wrong place."""
        has_password = bool(self.url.password or _values(self.url, "password"))
        return all("@" not in host and (has_password or _is_no_password(host)) for host in self._hosts)

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Convert database errors to StoreErrors that say what is wrong with this place and what to do."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise self.explained(error) from error

    @contextmanager
    def decoding(self, run_id: object) -> Iterator[None]:
        """Convert errors about the contents of a stored run to a StoreError that names the run."""
        try:
            yield
        except (StoreError, RunNotFoundError):
            raise
        except (ValueError, KeyError, RequestError) as error:
            raise StoreError(
                f"run {shown(run_id)} in {self} holds what this convbench cannot read: {error}",
                hint="a newer convbench may have written it",
            ) from error

    def explained(self, error: Exception) -> StoreError:
        """The StoreError for an error of this database, with what to do."""
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        said = str(cause).strip().splitlines() or [type(cause).__name__]
        words, reason, hint = meaning(cause, said, on_server=self.path is None)
        words = self._without_secrets(words)
        full = words if reason is None else f"{reason} ({words})"
        return DatabaseError(f"cannot use the database {self}: {full}", hint=hint)

    def _without_secrets(self, text: str) -> str:
        """The text without the secrets of the URL, neither as they are nor URL-encoded."""
        url = self.url
        secrets = {str(url.password or "")}
        secrets |= {value for name in url.query if name != "host" for value in _values(url, name)}
        if not self._shows_host:
            secrets |= {*self._hosts, str(url.port or ""), url.username or ""}
            secrets |= {part for host in self._hosts for part in host.split("@")[:-1]}
        if "@" in (url.database or ""):
            secrets |= {str(url.database), *str(url.database).split("@")[:-1]}
        for secret in sorted(secrets - {""}, key=len, reverse=True):
            if len(secret) < _SHORTEST_PART:
                text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", _MASK, text)
                continue
            text = text.replace(secret, _MASK).replace(urllib.parse.quote(secret, safe=""), _MASK)
        return text


def _values(url: URL, name: str) -> tuple[str, ...]:
    """The values of an option of the URL, which may be given more than once."""
    found = url.query.get(name, ())
    return (found,) if isinstance(found, str) else found


def _is_no_password(host: str) -> bool:
    """Whether this is certainly a host: this machine, an address, the folder of a socket."""
    if host == "localhost" or host.startswith("/"):
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def not_understood() -> StoreError:
    """The error for an invalid URL; it does not repeat the URL, which may hold a password."""
    return StoreError("the database's URL is not understood", hint="it reads dialect://user:password@host/database")


def shown(value: object) -> str:
    """A value of a column for a message: SQLite stores any type in any column."""
    text = str(value)
    return text if text.isprintable() and len(text) <= 150 else f"{text[:60]!r}..."
