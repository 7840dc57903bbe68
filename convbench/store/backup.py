"""Copies an SQLite database while other processes use it, by SQLite's own backup."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from convbench.errors import StoreError
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
