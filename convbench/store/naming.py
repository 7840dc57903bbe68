"""Names that only one row of a table may have, and the error for a second one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import IntegrityError

from convbench.errors import ConflictError, StoreError


@contextmanager
def unique(kind: str, name: str | None) -> Iterator[None]:
    """Convert the database's error for a name that another row of this kind has, "channel" or "schedule".

    The database's error has the row in its text, and with it what may be secret.
    """
    try:
        yield
    except StoreError as error:
        if not isinstance(error.__cause__, IntegrityError):
            raise
        raise ConflictError(f"there is a {kind} {name!r} already", hint="give it another name") from None
