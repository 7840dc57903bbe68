"""The verb that shows a case over all runs."""

from __future__ import annotations

from typing import Annotated

import typer

from convbench.cli.options import Database, app, database_of, send_what_waits
from convbench.cli.output import show


@app.command()
def history(
    case: Annotated[str, typer.Argument(metavar="CASE", help="A case id or a unique prefix of one.")],
    branch: Annotated[str | None, typer.Option("--branch", metavar="NAME", help="Runs of this branch alone.")] = None,
    last: Annotated[int | None, typer.Option("--last", metavar="N", min=1, help="The newest N runs alone.")] = None,
    db: Database = None,
) -> None:
    """Show a case's floor over all runs, and its steps.

    One series a machine (processor, architecture, cores, accelerator). A step is a change of the floor that is larger
    than a comparison's threshold and lasts for three runs or more; what else changed there is told with it.
    """
    from convbench.actions import read
    from convbench.report.text.history import history_text

    send_what_waits(database_of(db))
    show(history_text(read.history(case, db=database_of(db), branch=branch, last=last)))
