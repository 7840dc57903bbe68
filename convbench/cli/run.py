"""The verb that measures a sweep."""

from __future__ import annotations

import contextlib
import importlib
import signal
import sys
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convbench.cli.completion import stored_runs
from convbench.cli.interrupt import sigterm_as_interrupt
from convbench.cli.model_options import (
    ArgumentOption,
    AutocastOption,
    BudgetOption,
    ChannelsLastOption,
    InputOption,
    InputsOption,
    ModelOption,
    ModelOptions,
    RealOption,
    TrainOption,
)
from convbench.cli.options import AcrossEnvironments, Database, OptionalConfig, database_of, write_index
from convbench.cli.outcome import FailOnList, JunitFile, Outcome, SummaryFile
from convbench.cli.output import flush, say, show, show_bytes
from convbench.cli.page import write_page
from convbench.cli.terminal import columns
from convbench.errors import ExitCode, RequestError
from convbench.model.bounds import LONGEST_BUDGET_S
from convbench.units import flat, line

if TYPE_CHECKING:
    from convbench.analysis.comparison.judgment import RunComparison
    from convbench.analysis.findings.findings import Examined
    from convbench.model.result import Run
    from convbench.sweep import Plan, Sweep
    from convbench.workloads.request import Request

#: Number of findings printed to standard error, the most important first.
PRINTED_FINDINGS = 3


def run(
    config: OptionalConfig = None,
    model: ModelOption = None,
    inputs: InputOption = None,
    inputs_from: InputsOption = None,
    arguments: ArgumentOption = None,
    train: TrainOption = False,
    autocast: AutocastOption = None,
    channels_last: ChannelsLastOption = False,
    real: RealOption = False,
    budget: BudgetOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start a new run instead of resuming.")] = False,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="BASE",
            help="Compare with this run, and confirm suspected changes.",
            autocompletion=stored_runs,
        ),
    ] = None,
    across_environments: AcrossEnvironments = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Refuse if another run measures on this host, instead of waiting.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the report's path and errors alone.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the run as JSON, as export does, in place of the path.")
    ] = False,
    opened: Annotated[bool, typer.Option("--open", help="Open the report in the browser.")] = False,
    no_page: Annotated[
        bool, typer.Option("--no-page", help="Write no page, and print the run's id in place of the path.")
    ] = False,
    summary: SummaryFile = None,
    junit: JunitFile = None,
    fail_on: FailOnList = None,
    job: Annotated[
        Path | None, typer.Option("--job", hidden=True)
    ] = None,  # the folder of a job of the service (actions/job_folder.py)
    db: Database = None,
) -> None:
    """Measure a sweep and write its report. CONFIG - reads the sweep from standard input.

    Prints progress, the cases with their times and the first findings to standard error, and the report's path to
    standard output. Resumes an interrupted run of the same sweep. With --against, it also prints the comparison to
    standard error and exits as compare does.

    With --model and --input, it captures the convolutions of a model as `convbench capture` does, and compares dtypes
    and memory formats of each.
    """
    from convbench.actions import compare as comparing
    from convbench.actions import measure, pages, read
    from convbench.actions.job_folder import JobFolder
    from convbench.cli.progress import RunProgress
    from convbench.conduct.listening import Listener

    options = ModelOptions(
        inputs=inputs,
        inputs_from=inputs_from,
        arguments=arguments,
        train=train,
        autocast=autocast,
        channels_last=channels_last,
        real=real,
    )
    wanted = _Wanted.asked(config, options.request(model), budget)
    outcome = Outcome.asked(summary, junit, fail_on)
    if no_page and opened:
        raise RequestError("got --no-page and --open", hint="give one or the other")
    if not no_page:
        pages.check_writable()
    database = database_of(db)
    folder = None if job is None else JobFolder(job)
    shown = RunProgress(quiet=quiet, waits=not no_wait)

    def report_so_far(run_id: str, process_index: int) -> None:
        if no_page or process_index == sweep.measure.processes - 1:
            return  # the final report follows immediately
        _load_report()
        try:
            measured = measure.measured(run_id, db=database)
            path = measured.write_report()
        except RequestError as error:
            say(f"could not write the report yet, the run continues: {error.message}")
            return
        if process_index == 0 and not quiet:
            say(f"first report, updated after each process: {line(str(path))}")

    base = None if against is None else comparing.baseline(against, db=database)
    with sigterm_as_interrupt():
        sweep, plan = wanted.planned()
        done = None if folder is None else measure.finished(folder.begun(), db=database)
        measured, interrupted = shown.measured(
            lambda: (
                done
                or measure.run_planned(
                    sweep,
                    plan,
                    db=database,
                    fresh=fresh,
                    listener=shown.listener(
                        Listener(
                            beginning=folder.write_begun if folder else lambda run_id: None,
                            process_finished=report_so_far,
                        )
                    ),
                    base=base,
                    across_environments=across_environments,
                )
            ),
            database,
        )
    _load_report()
    from convbench.analysis.findings.findings import examined  # its imports are loaded by now
    from convbench.report import export
    from convbench.store import waiting_file

    seen = examined(measured.run)
    path = None if no_page else pages.write_report(measured.run, seen=seen)
    result = measured.id if path is None else line(str(path))
    findings = seen.sentences
    if not quiet:
        say(_summary(seen))
    if path and waiting_file(measured.id).exists():
        say("page of all runs not written: the database does not have this run yet")
    elif path:
        write_index(measured.run, database, seen.news)
    if interrupted:
        say("interrupted: results are kept" + ("" if job else f"; {wanted.command} resumes the run"))
    if as_json:
        show_bytes(export.export(measured.run, "json"))
        say(result)
    else:
        show(result)
    flush()
    if path and opened and not webbrowser.open(path.resolve().as_uri()):
        say("could not open a browser")
    if interrupted or base is None:
        code = outcome.of_run(measured.run, findings)
        raise typer.Exit(ExitCode.INTERRUPTED if interrupted else code)
    command = f"convbench compare {against if against and read.is_export(against) else base.id} {measured.id}"
    found = _confirmed(sweep, base, measured.run, across_environments, command)
    code = outcome.of_comparison(found.comparison)
    if folder is not None:
        folder.write_judged(found.comparison)
    write_page(found, None, no_page=no_page)
    raise typer.Exit(code)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What to measure: a sweep's file, or a model."""

    config: Path | None = None
    request: Request | None = None
    budget_s: float | None = None

    @classmethod
    def asked(cls, config: Path | None, request: Request | None, budget_s: float | None) -> _Wanted:
        """What the arguments say; RequestError for both, for neither, and for a budget that a file has of its own."""
        if (config is None) == (request is None):
            got = "missing CONFIG" if config is None else "got CONFIG and --model"
            raise RequestError(got, hint="give a sweep, or a model with --model and --input")
        if request is None and budget_s is not None:
            raise RequestError("--budget is for a model", hint="a sweep has measure.budget")
        if budget_s is not None and not 1 <= budget_s <= LONGEST_BUDGET_S:
            raise RequestError(f"--budget {budget_s:g}: expected 1 to {LONGEST_BUDGET_S:g} seconds")
        return cls(config=config, request=request, budget_s=budget_s)

    def planned(self) -> tuple[Sweep, Plan]:
        """The sweep and its plan."""
        from convbench.actions import capturing, measure

        if self.request is None:
            assert self.config is not None
            return measure.planned(self.config)
        return capturing.planned(self.request, budget_s=self.budget_s or capturing.BUDGET_S)

    @property
    def command(self) -> str:
        """The command that measures the same again."""
        return "the same command" if self.config is None else f"`convbench run {line(str(self.config))}`"


def _summary(seen: Examined) -> str:
    """The cases with their times, what a network can gain, and the first findings."""
    from convbench.report.text.network import network_text
    from convbench.report.text.results import results_text
    from convbench.report.text.tables import folded

    named = [case for finding in seen.findings for case in finding.cases[:1]]
    width = columns(sys.stderr)
    networks = [network_text(each, width) for each in seen.answers[:1]]
    # The tables of a network hold what the details of its finding say.
    found = [each.sentence for each in seen.findings] if networks else seen.sentences
    sentences = [folded(f"- {flat(sentence)}", width) for sentence in found[:PRINTED_FINDINGS]]
    cases = results_text(seen.rows, named, columns=width)
    return "\n\n".join(filter(None, [cases, "\n".join(sentences), *networks]))


def _confirmed(sweep: Sweep, base: Run, new: Run, across_environments: bool, command: str) -> RunComparison:
    """Compare, confirm suspected changes and print the result to standard error. `command` compares the stored runs."""
    from convbench.actions import measure
    from convbench.cli.progress import RunProgress
    from convbench.report.text.compare import compare_text

    shown = RunProgress()
    with sigterm_as_interrupt():
        try:
            found = measure.against(
                sweep, base, new, across_environments=across_environments, listener=shown.listener()
            )
        except KeyboardInterrupt:
            shown.close()
            say(f"not confirmed; the run is stored: `{line(command)}`, with the same --db, compares it")
            raise
        finally:
            shown.close()
    say(compare_text(found.comparison, columns(sys.stderr)))
    return found


def _load_report() -> None:
    """Import the report modules. Interrupts wait, because an interrupted import of pandas cannot be repeated."""
    with interrupts_deferred():
        importlib.import_module("convbench.report.pages.run")


@contextlib.contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Defer Ctrl-C and SIGTERM to the end of the block; raises KeyboardInterrupt then."""
    caught: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, frame: caught.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if caught:
        raise KeyboardInterrupt
