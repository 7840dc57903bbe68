"""The verb that writes a stored run's report again."""

from __future__ import annotations

from convbench.cli.options import Database, RunRef, app, database_of, send_what_waits, write_index
from convbench.cli.output import show
from convbench.units import line


@app.command()
def report(run: RunRef = "latest", db: Database = None) -> None:
    """Write the report of a stored run again."""
    from convbench.actions import pages, read

    database = database_of(db)
    if not read.is_export(run):
        send_what_waits(database)
    loaded = read.load(run, db=database).run
    from convbench.analysis.findings.findings import examined  # loads pandas, for which a mistyped run need not wait

    seen = examined(loaded)
    path = pages.write_report(loaded, seen=seen)
    if not read.is_export(run):  # which is not stored, and may come without any database
        write_index(loaded, database, seen.sentences)
    show(line(str(path)))
