"""The verbs that list the stored runs, delete some of them, and delete old ones."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from convbench.cli.completion import stored_runs
from convbench.cli.options import Database, database_of, send_waiting_results
from convbench.cli.output import say, show
from convbench.cli.terminal import columns
from convbench.errors import RequestError

if TYPE_CHECKING:
    from convbench.actions.remove import Removal

_NAMED_HELP = "With --delete: latest, a run id, or a unique prefix of one."
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")]


def runs(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help=_NAMED_HELP, show_default=False, autocompletion=stored_runs),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete these runs and their pages in reports/.")] = False,
    dry_run: DryRun = False,
    db: Database = None,
) -> None:
    """List the stored runs, newest first.

    With --delete, delete the named runs instead. A baseline, a run that is being written, and a run of a campaign that
    is being measured are never deleted. A campaign goes with its last run.
    """
    from convbench.actions import remove
    from convbench.report.text.runs import runs_text
    from convbench.store import Store

    if delete != bool(names):
        wanted = "RUN, got --delete alone" if delete else "--delete before RUN"
        raise RequestError(f"expected {wanted}", hint="like: convbench runs --delete 20261124-031502-k7q2")
    if dry_run and not delete:
        raise RequestError("--dry-run needs --delete", hint="`convbench runs` alone changes nothing")
    send_waiting_results(database_of(db))
    if names:
        _report(remove.delete(names, db=database_of(db), dry_run=dry_run), dry_run=dry_run)
        return
    with Store.open(database_of(db)) as store:
        show(runs_text(store.runs(), columns(sys.stdout)))


def prune(
    keep: Annotated[int | None, typer.Option("--keep", metavar="N", min=0, help="Keep the newest N runs.")] = None,
    older: Annotated[
        str | None,
        typer.Option("--older", metavar="AGE", help="Keep what began within this age: 36h, 90d or 8w."),
    ] = None,
    ab_pages: Annotated[
        bool, typer.Option("--ab-pages", help="With --older: delete older pages of ab too, their only record.")
    ] = False,
    dry_run: DryRun = False,
    db: Database = None,
) -> None:
    """Delete old runs and their pages.

    With both options, a run must be beyond the newest N and older than AGE. A baseline, a run that is being written,
    and a run of a campaign that is being measured are never deleted. The pages are those in reports/ that end with the
    run's id. Pages of ab have no run.
    """
    from convbench.actions import remove

    age = None if older is None else remove.age(older)
    send_waiting_results(database_of(db))
    removal = remove.prune(keep=keep, older=age, ab_pages=ab_pages, db=database_of(db), dry_run=dry_run)
    _report(removal, dry_run=dry_run)


def _report(removal: Removal, *, dry_run: bool) -> None:
    from convbench.report.text.runs import removal_text

    for run_id, reason in removal.kept:
        say(f"run {run_id} stays: {reason}")
    names = [page.name for page in removal.pages]
    show(removal_text(removal.runs, names, removal.page_bytes, dry_run=dry_run, campaigns=removal.campaigns))
