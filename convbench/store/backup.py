"""Copies an SQLite database while other processes use it, by SQLite's own backup."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from convbench.errors import RequestError, StoreError
from convbench.store import opening, schema
from convbench.store.files import fresh_file
from convbench.store.place import DEFAULT, Place
from convbench.store.reasons import ELSEWHERE


def copy_before_upgrade(url_or_path: str | None = None) -> Path | None:
    """Copy a file whose schema is older than the present one, and return the copy: `runs.db.schema-4`.

    None where nothing will be upgraded, on a server, and where the copy is there already. StoreError where it fails.
    """
    place = Place.of(url_or_path or DEFAULT)
    if place.path is None or not place.path.is_file() or not place.path.stat().st_size:
        return None
    engine, version = opening.open_to_read(place)
    engine.dispose()
    target = place.path.with_name(f"{place.path.name}.schema-{version}")
    if version >= schema.VERSION or target.exists():
        return None
    _copy(place, place.path, target)
    return target


def copy(target: Path, url_or_path: str | None = None) -> int:
    """Copy a database to a new file, as it is at one moment, while others read and write it; returns its bytes.

    Raises RequestError where the target exists and for a server's database, and StoreError where the copy fails.
    """
    place = Place.of(url_or_path or DEFAULT)
    if place.path is None:
        raise RequestError(
            f"{place} is on a server, which is copied by its own program",
            hint="pg_dump --format=custom --file=FILE DATABASE",
        )
    if target.exists() or target.is_symlink():
        raise RequestError(f"{target} exists already", hint="give a new file")
    engine, _ = opening.open_to_read(place)
    engine.dispose()
    _copy(place, place.path, target)
    return target.stat().st_size


def _copy(place: Place, source: Path, target: Path) -> None:
    try:
        with (
            place.explaining(),
            fresh_file(target) as scratch,
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as here,
            closing(sqlite3.connect(scratch)) as there,
        ):
            here.backup(there)
            scratch.replace(target)
    except OSError as error:
        raise StoreError(f"cannot copy {place} to {target}: {error.strerror}", hint=ELSEWHERE) from error
