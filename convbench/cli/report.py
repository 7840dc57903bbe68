"""The verb that writes the report of a stored run."""

from __future__ import annotations

from convbench.cli.options import Database, RunRef, database_of, send_waiting_results, write_index
from convbench.cli.output import show
from convbench.units import line


def report(run: RunRef = "latest", db: Database = None) -> None:
    """Write the report of a stored run."""
    from convbench.actions import pages, read

    pages.check_writable()
    database = database_of(db)
    if not read.is_export(run):
        send_waiting_results(database)
    loaded = read.load(run, db=database).run
    from convbench.analysis.findings.findings import (
        examined,
    )  # loads pandas, which is slow

    seen = examined(loaded)
    path = pages.write_report(loaded, seen=seen)
    if not read.is_export(run):  # an export needs no database
        write_index(loaded, database, seen.sentences)
    show(line(str(path)))
