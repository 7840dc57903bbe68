"""The verb that lists the stored runs."""

from __future__ import annotations

import sys

from convbench.cli.options import Database, database_of, send_waiting_results
from convbench.cli.output import show
from convbench.cli.terminal import columns


def runs(db: Database = None) -> None:
    """List the stored runs, newest first."""
    from convbench.report.text.runs import runs_text
    from convbench.store import Store

    send_waiting_results(database_of(db))
    with Store.open(database_of(db)) as store:
        show(runs_text(store.runs(), columns(sys.stdout)))
