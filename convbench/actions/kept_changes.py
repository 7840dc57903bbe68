"""The changes of a sweep that were computed before, in a file: a service that starts again need not read its runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from convbench.actions import over_time
from convbench.actions.over_time import Change
from convbench.errors import RequestError
from convbench.model.reading import reader
from convbench.model.serial import parsed, to_json
from convbench.store.files import write_bytes
from convbench.version import __version__

#: Where a service keeps them, below the folder in which it was started.
FOLDER = Path("reports/changes")
#: The layout of a file. Raise it where the changes of the same runs come out otherwise: older files are then ignored.
LAYOUT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """The content of a file: `of` says of which runs the changes are."""

    of: str
    changes: tuple[Change, ...]


def changes(
    path: Path | None, state: Sequence[tuple[str, str]], run_ids: Sequence[str], db: str | None = None
) -> tuple[Change, ...]:
    """What `over_time.changes` finds; from the file at `path` where that is of the same `state`, (id, end) of each run.

    A file that cannot be read or written is left alone: it only saves time. Without a path nothing is kept.
    """
    if path is None:
        return over_time.changes(run_ids, db)
    of = hashlib.sha256(repr((LAYOUT, __version__, *state)).encode()).hexdigest()
    found = _read(path)
    if found is not None and found.of == of:
        return found.changes
    made = over_time.changes(run_ids, db)
    with suppress(RequestError):
        write_bytes(path, json.dumps(to_json(_Kept(of=of, changes=made)), allow_nan=False).encode())
    return made


def path_of(folder: Path | None, *names: str) -> Path | None:
    """The file for the sweep and machine with these names; None where nothing is kept."""
    return None if folder is None else folder / f"{hashlib.sha256(repr(names).encode()).hexdigest()[:32]}.json"


def _read(path: Path) -> _Kept | None:
    try:
        made: _Kept = reader(_Kept)(parsed(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RequestError):
        return None
    return made
