"""The verbs about what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convbench.cli.options import STORED_HELP, Database, RunRef, app, database_of, send_what_waits, write_index
from convbench.cli.output import show, show_bytes
from convbench.errors import RequestError
from convbench.store.files import check_writable, write_bytes
from convbench.units import line


@app.command()
def report(run: RunRef = "latest", db: Database = None) -> None:
    """Write the report of a stored run again."""
    from convbench import api

    database = database_of(db)
    if not api.is_export(run):
        send_what_waits(database)
    loaded = api.load(run, db=database)
    path = loaded.write_report()
    if not api.is_export(run):  # which is not stored, and may come without any database
        write_index(loaded.run, database)
    show(line(str(path)))


@app.command()
def runs(db: Database = None) -> None:
    """List what is stored, newest first."""
    from convbench.report.text.runs import runs_text
    from convbench.store import Store

    send_what_waits(database_of(db))
    with Store.open(database_of(db)) as store:
        show(runs_text(store.runs()))


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
    from convbench import api
    from convbench.report.text.history import history_text

    send_what_waits(database_of(db))
    show(history_text(api.history(case, db=database_of(db), branch=branch, last=last)))


baseline = typer.Typer(help="Names for runs, to compare with.", rich_markup_mode=None, no_args_is_help=True)
app.add_typer(baseline, name="baseline")
BaselineName = Annotated[str, typer.Argument(metavar="NAME", help="Begins with a letter: main, release/1.2.")]


@baseline.command("set")
def baseline_set(
    name: BaselineName,
    run: Annotated[str, typer.Argument(metavar="RUN", help=STORED_HELP)],
    db: Database = None,
) -> None:
    """Have a name mean a run.

    It stays with that run until it is set again; `latest` is the run that is the latest now.
    """
    from datetime import UTC, datetime

    from convbench import api
    from convbench.store import Store

    if api.is_export(run):
        raise RequestError(f"{run} is a file, and a baseline is a stored run", hint="`convbench runs` lists those")
    send_what_waits(database_of(db))
    with Store.change(database_of(db)) as store:
        made = store.set_baseline(name, run, set_at=datetime.now(UTC).isoformat())
    show(f"{line(made.name)} is run {line(made.run_id)}")


@baseline.command("list")
def baseline_list(db: Database = None) -> None:
    """List the names and their runs."""
    from convbench.report.text.runs import baselines_text
    from convbench.store import Store

    with Store.open(database_of(db)) as store:
        show(baselines_text(store.baselines()))


@baseline.command("remove")
def baseline_remove(name: BaselineName, db: Database = None) -> None:
    """Forget a name; its run stays."""
    from convbench.store import Store

    with Store.change(database_of(db)) as store:
        store.remove_baseline(name)


@app.command()
def export(
    run: RunRef = "latest",
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="csv, json, parquet, markdown or junit.")
    ] = "csv",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A file instead of standard output.")] = None,
    db: Database = None,
) -> None:
    """Write a run for other programs."""
    from convbench import api
    from convbench.report.export import export as exported

    if output is not None:
        check_writable(output)
    content = exported(api.load(run, db=database_of(db)).run, form)
    if output is not None:
        write_bytes(output, content)
    else:
        show_bytes(content)
