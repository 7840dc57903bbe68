"""The verb that lists what is stored."""

from __future__ import annotations

from convbench.cli.options import Database, app, database_of, send_what_waits
from convbench.cli.output import show


@app.command()
def runs(db: Database = None) -> None:
    """List what is stored, newest first."""
    from convbench.report.text.runs import runs_text
    from convbench.store import Store

    send_what_waits(database_of(db))
    with Store.open(database_of(db)) as store:
        show(runs_text(store.runs()))
