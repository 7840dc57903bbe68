"""The verb that lists the machines that the database knows."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from convbench.cli.options import Database, database_of, send_waiting_results
from convbench.cli.output import show
from convbench.cli.terminal import columns


def machines(
    as_json: Annotated[bool, typer.Option("--json", help="Print the machines as JSON.")] = False,
    db: Database = None,
) -> None:
    """List the machines of the stored runs.

    Prints each machine key with its hosts, devices, best measured roofs, noise, number of runs and last run. Hosts with
    equal processors, cores and devices have one key. Noise is that of the reference layers in its newest run.
    """
    from convbench.actions import machines as listing
    from convbench.report.text.machines import machines_json, machines_text

    send_waiting_results(database_of(db))
    found = listing.machines(db=database_of(db))
    show(machines_json(found) if as_json else machines_text(found, columns(sys.stdout)))
