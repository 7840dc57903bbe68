"""The verb that copies the database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convbench.cli.options import Database, database_of
from convbench.cli.output import show
from convbench.units import line, size


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; it must not exist.")],
    db: Database = None,
) -> None:
    """Copy the database to a file while others use it.

    The copy holds everything that was stored at one moment. A database on a server is copied by pg_dump.
    """
    from convbench.store import backup as copies

    written = copies.copy(file, database_of(db))
    show(f"{line(str(file))}: {size(written)}")
