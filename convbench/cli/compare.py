"""The verbs that tell what changed."""

from __future__ import annotations

import gc
from typing import Annotated

import typer

from convbench.cli.options import RUN_HELP, AcrossEnvironments, Database, app, database_of
from convbench.cli.outcome import FailOnList, JunitFile, Outcome, SummaryFile
from convbench.cli.output import flush, show
from convbench.cli.page import PageFile, WithoutPage, check_page, write_page


@app.command()
def compare(
    base: Annotated[str, typer.Argument(metavar="BASE", help="The run to compare with, named like NEW.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help=RUN_HELP)],
    across_environments: AcrossEnvironments = False,
    summary: SummaryFile = None,
    junit: JunitFile = None,
    fail_on: FailOnList = None,
    output: PageFile = None,
    no_page: WithoutPage = False,
    db: Database = None,
) -> None:
    """Tell what changed between two runs.

    One line for each case that is not unchanged, then the changes that belong together, then the verdict of all; once
    more in a page, whose path ends standard error. Exits with 1 where a case regressed, 4 where the runs cannot be
    compared, 5 where noise hides too much.
    """
    from convbench.actions import compare as comparing
    from convbench.report.text.compare import compare_text

    outcome = Outcome.asked(summary, junit, fail_on)
    check_page(output, no_page=no_page)
    gc.disable()  # millions of blocks and no garbage among them
    found = comparing.compare(base, new, db=database_of(db), across_environments=across_environments)
    show(compare_text(found.comparison))
    gc.freeze()  # at the end Python would walk through all of it once more
    code = outcome.of_comparison(found.comparison)
    flush()  # what goes to standard error comes last; a reader that has gone costs no file asked for
    write_page(found, output, no_page=no_page)
    raise typer.Exit(code)
