"""The verbs that set, list and remove baselines: names for stored runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from convbench.cli.completion import baselines, stored_runs
from convbench.cli.options import STORED_HELP, Database, database_of, send_waiting_results
from convbench.cli.output import show
from convbench.cli.terminal import columns
from convbench.errors import RequestError
from convbench.units import line

baseline = typer.Typer(
    help="Give stored runs names, to compare other runs with.", rich_markup_mode=None, no_args_is_help=True
)


BaselineName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A name that begins with a letter: main, release/1.2.", autocompletion=baselines
    ),
]


@baseline.command("set")
def baseline_set(
    name: BaselineName,
    run: Annotated[str, typer.Argument(metavar="RUN", help=STORED_HELP, autocompletion=stored_runs)],
    db: Database = None,
) -> None:
    """Give a stored run a name.

    The name refers to this run until you set it again. `latest` names the run that is the newest now.
    """
    from datetime import UTC, datetime

    from convbench.actions import read
    from convbench.store import Store

    if read.is_export(run):
        raise RequestError(
            f"{run} is a file, but a baseline must be a stored run", hint="`convbench runs` lists the stored runs"
        )
    send_waiting_results(database_of(db))
    with Store.change(database_of(db)) as store:
        made = store.set_baseline(name, run, set_at=datetime.now(UTC).isoformat())
    show(f"{line(made.name)} is run {line(made.run_id)}")


@baseline.command("list")
def baseline_list(db: Database = None) -> None:
    """List the baselines and their runs."""
    from convbench.report.text.runs import baselines_text
    from convbench.store import Store

    with Store.open(database_of(db)) as store:
        show(baselines_text(store.baselines(), columns(sys.stdout)))


@baseline.command("remove")
def baseline_remove(name: BaselineName, db: Database = None) -> None:
    """Remove a name; its run stays stored."""
    from convbench.store import Store

    with Store.change(database_of(db)) as store:
        store.remove_baseline(name)
