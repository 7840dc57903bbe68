"""The verb that writes the report of a stored run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convbench.cli.options import Database, RunRef, database_of, send_waiting_results, write_index
from convbench.cli.output import show
from convbench.store.files import check_writable
from convbench.units import line


def report(
    run: RunRef = "latest",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="The page to write. [default: reports/<name>-<run>.html]", show_default=False
        ),
    ] = None,
    db: Database = None,
) -> None:
    """Write the report of a stored run."""
    from convbench.actions import pages, read

    if output is None:
        pages.check_writable()
    else:
        check_writable(output)
    database = database_of(db)
    if not read.is_export(run):
        send_waiting_results(database)
    loaded = read.load(run, db=database).run
    from convbench.analysis.findings.findings import (
        examined,
    )  # loads pandas, which is slow

    seen = examined(loaded)
    path = pages.write_report(loaded, output, seen=seen)
    if output is None and not read.is_export(run):  # an export needs no database
        write_index(loaded, database, seen.news)
    show(line(str(path)))
