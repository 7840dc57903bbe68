"""The verb that shows what a run would measure."""

from __future__ import annotations

import gc
import sys
from typing import Annotated

import typer

from convbench.cli.options import Config, Database, database_of
from convbench.cli.output import show
from convbench.cli.terminal import columns
from convbench.errors import ExitCode

#: Blanks before the further lines of a case that a terminal is too narrow for.
INDENT = 4


def plan(
    config: Config,
    all_cases: Annotated[bool, typer.Option("--all", help="Print all cases instead of the first 40.")] = False,
    db: Database = None,
) -> None:
    """Show what a run would measure.

    Prints the cases, the points that torch would refuse and why, and time and memory. Measures and writes nothing. The
    time is a forecast if the database holds a run of this machine. Otherwise it assumes a speed.
    """
    from convbench import sweep as sweeps
    from convbench.actions import measure
    from convbench.report.text.plan import plan_text
    from convbench.report.text.tables import folded

    gc.disable()  # a plan has no garbage; walking 100,000 cases again and again takes a third of the time
    sweep, planned = measure.planned(config)
    text = plan_text(
        name=sweep.name,
        cases=planned.cases,
        rejections=planned.rejections,
        points=planned.points,
        merged=planned.merged,
        excluded=planned.excluded,
        measure=sweep.measure,
        most=None if all_cases else 40,
        workers=measure.workers_at_once(planned),
        forecast_s=measure.forecast_s(planned, sweep, db=database_of(db)),
        notes=[*sweeps.notes(sweep, planned), *measure.threads_notes(planned)],
    )
    show(folded(text, columns(sys.stdout), indent=INDENT))
    raise typer.Exit(ExitCode.DONE if planned.cases else ExitCode.WRONG_REQUEST)
