"""The verb that measures a branch each night."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convbench.cli.ci_results import (
    FAIL_ON,
    JUNIT,
    RESULTS,
    SUMMARY,
    DryRun,
    FailOnList,
    Work,
    append_to_job_summary,
    forget_results,
    temporary,
)
from convbench.cli.exits import parsed_fail_on
from convbench.cli.interrupt import sigterm_as_interrupt
from convbench.cli.options import Config, Database, database_of, write_index
from convbench.cli.outcome import Outcome
from convbench.cli.output import flush, say, show
from convbench.cli.page import write_page
from convbench.store.files import write_bytes
from convbench.units import line

if TYPE_CHECKING:
    from convbench.engine.commands import Command


@sigterm_as_interrupt()  # also while the environment is built, so that it is not left
def nightly(
    config: Config,
    accept: Annotated[
        bool, typer.Option("--accept", envvar="CONVBENCH_ACCEPT", help="Make this run the new baseline.")
    ] = False,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Measure in convbench's own environment, and build none.")
    ] = False,
    install: Annotated[
        str | None,
        typer.Option("--install", metavar="WHAT", envvar="CONVBENCH", help="The pip requirement for convbench."),
    ] = None,
    fail_on: FailOnList = FAIL_ON,
    work: Work = None,
    dry_run: DryRun = False,
    db: Database = None,
) -> None:
    """Measure a branch and compare it with its baseline.

    Builds an environment from the lock file, installs convbench in it, and measures there. Stores the run. The first
    run in which every case is right becomes the baseline of its sweep and processor. It stays until you accept another
    run, or until such a run cannot be compared with it.
    """
    from convbench.actions import measure
    from convbench.actions import nightly as nights
    from convbench.actions.ci_setup import installed_here
    from convbench.engine.commands import Command

    parsed_fail_on(fail_on)  # mistakes are reported before an environment is built
    measure.planned(config)
    database = database_of(db)
    if in_place:
        _measure_tonight(config, database, accept=accept, fail_on=fail_on, dry_run=dry_run)
        return
    folder = work.absolute() if work else temporary()
    wanted = install or installed_here(Path.cwd())
    *steps, last = nights.building(config, install=wanted, work=folder, folder=Path.cwd())
    options = [*(["--accept"] if accept else []), *([] if fail_on == FAIL_ON else ["--fail-on", fail_on])]
    last = Command(words=(*last.words, *options), folder=last.folder, variables=last.variables)
    if dry_run:
        _show_nightly(config, [*steps, last], database, accept=accept)
        return
    if database is not None:
        os.environ["CONVBENCH_DB"] = database  # a command line would show its password
    folder.mkdir(mode=0o700, parents=True, exist_ok=work is not None)  # a temporary folder must be ours alone
    try:
        for step in steps:
            step.done()
        code = last.run()
    finally:
        if work is None:
            shutil.rmtree(folder, ignore_errors=True)
    raise typer.Exit(code)


def _measure_tonight(config: Path, db: str | None, *, accept: bool, fail_on: str, dry_run: bool) -> None:
    from convbench.actions import nightly as nights
    from convbench.actions import pages
    from convbench.cli.progress import RunProgress
    from convbench.report.ci.texts import incomparable_text
    from convbench.report.text.compare import compare_text

    if dry_run:
        _show_nightly(config, [], db, accept=accept)
        return
    forget_results()
    outcome = Outcome.asked(SUMMARY, JUNIT, fail_on)
    pages.check_writable()
    shown = RunProgress()
    try:
        found = nights.night(config, db=db, accept=accept, listener=shown.listener())
    finally:
        shown.close()
    from convbench.analysis.findings.findings import examined  # loads pandas, which is slow

    seen = examined(found.run)
    show(line(str(pages.write_report(found.run, seen=seen))))
    write_index(found.run, db, seen.news)
    if found.compared is None:
        code = outcome.of_run(found.run, seen.sentences)
    else:
        say(compare_text(found.compared.comparison))
        code = outcome.of_comparison(found.compared.comparison)
        write_page(found.compared, None, no_page=False)
    if found.refused is not None:
        text = incomparable_text(found.baseline, found.refused, replaced=found.sets)
        say(text)
        write_bytes(SUMMARY, SUMMARY.read_bytes() + f"\n{text}\n".encode())
    if found.sets:
        nights.set_baseline(found, db=db)
        say(f"{found.baseline} is run {found.run.id} from now on")
    append_to_job_summary()
    flush()
    raise typer.Exit(code)


def _show_nightly(config: Path, commands: list[Command], db: str | None, *, accept: bool) -> None:
    from convbench.actions import nightly as nights
    from convbench.report.ci.texts import plan_text

    name = nights.name_here(config)
    run = nights.stored_baseline(name, db=db)
    judged = f"run {run}" if run else "none yet: the first run in which every case is right becomes it"
    about = [f"baseline: {name}, {judged}" + (", which this run replaces" if run and accept else "")]
    show(plan_text(about, commands, [f"results: {RESULTS}/ and reports/"]))
