"""The verb that shows a case's history over runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from convbench.cli.options import Database, database_of, send_waiting_results
from convbench.cli.output import show
from convbench.cli.terminal import columns


def history(
    case: Annotated[str, typer.Argument(metavar="CASE", help="A case id or a unique prefix of one.")],
    branch: Annotated[
        str | None, typer.Option("--branch", metavar="NAME", help="Show only runs of this git branch.")
    ] = None,
    last: Annotated[int | None, typer.Option("--last", metavar="N", min=1, help="Show only the newest N runs.")] = None,
    db: Database = None,
) -> None:
    """Show a case's floor over runs, and its steps.

    Prints one series per machine (processor, architecture, cores, devices). A step is a change of the floor that
    exceeds 5 % and the comparison's threshold, and lasts for three runs or more. Each step lists what else changed
    there.
    """
    from convbench.actions import read
    from convbench.report.text.history import history_text

    send_waiting_results(database_of(db))
    found = read.history(case, db=database_of(db), branch=branch, last=last)
    show(history_text(found, columns(sys.stdout)))
