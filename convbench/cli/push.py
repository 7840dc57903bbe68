"""The verb that sends a run to a service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from convbench.cli.completion import stored_runs
from convbench.cli.options import STORED_HELP, Database, database_of, send_waiting_results
from convbench.cli.output import say, show
from convbench.units import line, plural


def push(
    run: Annotated[str, typer.Argument(metavar="RUN", help=STORED_HELP, autocompletion=stored_runs)],
    to: Annotated[str, typer.Option("--to", metavar="URL", help="The service: https://bench.example.org.")],
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help="A file with the token. [default: CONVBENCH_TOKEN has it]"),
    ] = None,
    db: Database = None,
) -> None:
    """Send a stored run to a service.

    The token needs the scope report. A run that is sent twice is there once. When sending was interrupted, or an
    unfinished run has gone on, the same command sends what is missing.
    """
    from convbench.actions import push as sending

    token = sending.token_of(os.environ, token_file)
    send_waiting_results(database_of(db))
    pushed = sending.push(run, to=to, token=token, db=database_of(db), message=say)
    if pushed.was_there:
        show(f"run {line(pushed.run_id)} is there already")
    else:
        parts = f"{pushed.sent} of {plural(pushed.parts, 'part')}"
        show(f"run {line(pushed.run_id)} is there, {pushed.state.value}: {plural(pushed.cases, 'case')}, sent {parts}")
