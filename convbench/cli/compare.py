"""The verb that compares two runs."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from convbench.cli.completion import stored_runs
from convbench.cli.options import RUN_HELP, AcrossEnvironments, Database, database_of
from convbench.cli.outcome import FailOnList, JunitFile, Outcome, SummaryFile
from convbench.cli.output import flush, show
from convbench.cli.page import PageFile, WithoutPage, check_page, write_page
from convbench.cli.terminal import columns
from convbench.errors import RequestError


def compare(
    base: Annotated[
        str,
        typer.Argument(
            metavar="BASE", help="The run to compare with, in any form allowed for NEW.", autocompletion=stored_runs
        ),
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help=RUN_HELP, autocompletion=stored_runs)],
    across_environments: AcrossEnvironments = False,
    summary: SummaryFile = None,
    junit: JunitFile = None,
    fail_on: FailOnList = None,
    output: PageFile = None,
    no_page: WithoutPage = False,
    db: Database = None,
) -> None:
    """Compare two runs and report what changed.

    Prints one line for each case that is not unchanged, then groups of changes, then the verdict. Also writes a page
    and prints its path to standard error. Exits with 1 if a case regressed, 4 if the runs cannot be compared, and 5 if
    noise is too high. BASE and NEW may also name two campaigns. Then each machine key is judged on its own, and the
    worst exit code counts.
    """
    from convbench.actions import compare as comparing
    from convbench.report.text.compare import compare_text

    outcome = Outcome.asked(summary, junit, fail_on)
    check_page(output, no_page=no_page)
    gc.disable()  # there are millions of blocks and no garbage among them
    if comparing.are_campaigns(base, new, db=database_of(db)):
        _campaigns(base, new, outcome, output, across_environments=across_environments, no_page=no_page, db=db)
    found = comparing.compare(base, new, db=database_of(db), across_environments=across_environments)
    show(compare_text(found.comparison, columns(sys.stdout)))
    gc.freeze()  # otherwise Python walks through all objects once more at exit
    code = outcome.of_comparison(found.comparison)
    try:
        flush()
    finally:  # a closed standard output must not prevent the page
        write_page(found, output, no_page=no_page)
    raise typer.Exit(code)


def _campaigns(
    base: str,
    new: str,
    outcome: Outcome,
    output: Path | None,
    *,
    across_environments: bool,
    no_page: bool,
    db: str | None,
) -> NoReturn:
    """Compare two campaigns machine by machine, with a page for each machine."""
    from convbench.actions import compare as comparing
    from convbench.report.text.campaign_comparison import campaigns_text

    found = comparing.compare_campaigns(base, new, db=database_of(db), across_environments=across_environments)
    compared = [one.compared for one in found.machines if one.compared is not None]
    if output is not None and len(compared) != 1:
        raise RequestError(
            f"-o names one page, and {len(compared)} machines have one each", hint="without -o they are in reports/"
        )
    show(campaigns_text(found, columns(sys.stdout)))
    code = outcome.of_campaigns(found)
    try:
        flush()
    finally:  # a closed standard output must not prevent the pages
        for one in compared:
            write_page(one, output, no_page=no_page)
    raise typer.Exit(code)
