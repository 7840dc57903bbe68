"""The verbs: options in, text and an exit code out. Rooms are imported when a verb needs them."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from convbench.errors import ConvbenchError, ExitCode, RequestError, SweepError

if TYPE_CHECKING:
    from types import FrameType

    from convbench.analysis.comparison import Comparison
    from convbench.case import Case
    from convbench.result import Run

app = typer.Typer(
    help="How fast is a convolution layer? Measures torch.nn.Conv2d sweeps, checks every layer, writes a report.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_DB_HELP = "The database: a path or an SQLAlchemy URL. [default: reports/convbench.db]"
Database = Annotated[str | None, typer.Option("--db", envvar="CONVBENCH_DB", metavar="DB", help=_DB_HELP)]
_STORED_HELP = "latest, a run id or a unique prefix of one, or a baseline's name."
RunRef = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="latest, a run id or a unique prefix of one, a baseline's name, or a JSON export."
    ),
]
Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="A sweep: a YAML file, see configs/.")]


class _State:
    """`--db` as it stands before the verb."""

    db: str | None = None


def _database(db: str | None) -> str | None:
    return db if db is not None else _State.db


def _show_version(value: bool) -> None:
    if value:
        from convbench import __version__

        print(f"convbench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    db: Database = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    _State.db = db


@app.command()
def run(
    config: Config,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew where an interrupted run would resume.")] = False,
    db: Database = None,
) -> None:
    """Measure a sweep and write its report.

    Progress goes to standard error; standard output is the report's path. A run that was interrupted resumes.
    """
    from convbench import api, runner
    from convbench.progress import Shown, say

    database = _database(db)
    shown = Shown()

    def report_so_far(run_id: str, pass_index: int) -> None:
        try:
            measured = api.measured(run_id, db=database)
            path = measured.write_report()
        except RequestError as error:
            say(f"no report yet, the run goes on: {error.message}")
            return
        if pass_index == 0 and measured.run.measure.passes > 1:
            say(f"a first report, which each further pass sharpens: {path}")

    interrupted = False
    with _sigterm_as_interrupt():
        try:
            listener = shown.listener(pass_finished=runner.Listener(pass_finished=report_so_far))
            measured = api.run(config, db=database, fresh=fresh, listener=listener)
        except KeyboardInterrupt:
            if shown.run_id is None:
                raise
            interrupted = True
            measured = api.measured(shown.run_id, db=database)
        finally:
            shown.close()
    path = measured.write_report()
    _write_index(measured.run, database, _tell_summary(measured.run))
    if interrupted:
        say(f"interrupted: what was measured is kept; `convbench run {config}` goes on from here")
    print(path)
    raise typer.Exit(ExitCode.INTERRUPTED if interrupted else exit_code(measured.run))


def exit_code(run: Run) -> ExitCode:
    """The first exit code of the contract that applies to a measured run."""
    from convbench.result import UNMEASURED, Status

    statuses = {result.status for result in run.results}
    if Status.FAILED in statuses:
        return ExitCode.FAILED_OR_REGRESSED
    return ExitCode.NOT_MEASURED if statuses & UNMEASURED else ExitCode.DONE


def _tell_summary(run: Run) -> list[str]:
    """Tell the things most worth knowing on standard error; returns all that was found."""
    from convbench.analysis.findings import findings
    from convbench.progress import say

    sentences = [finding.sentence for finding in findings(run)]
    for sentence in sentences[:3]:
        say(f"- {sentence}")
    return sentences


def _write_index(run: Run, db: str | None, findings: Sequence[str] | None = None) -> None:
    """Write the page of all runs. The report is written by then: whatever goes wrong here costs a line, no more."""
    from convbench import api
    from convbench.progress import say

    try:
        api.write_index(db=db, run=run, findings=findings)
    except Exception as error:
        say(f"no page of all runs: {error}")


@app.command()
def plan(
    config: Config,
    all_cases: Annotated[bool, typer.Option("--all", help="Print all cases, not only the first 40.")] = False,
    db: Database = None,
) -> None:
    """Show what a run would measure.

    The cases, the points torch would refuse with its reasons, time and memory. Nothing is measured or written. The time
    is a forecast where the database holds a run of this machine, an upper limit elsewhere.
    """
    from convbench import api
    from convbench.report.plan import plan_text

    gc.disable()  # nothing of a plan is garbage, and walking 100,000 cases again and again takes a third of the time
    sweep, planned = api.planned(config)
    print(
        plan_text(
            name=sweep.name,
            cases=planned.cases,
            rejections=planned.rejections,
            points=planned.points,
            merged=planned.merged,
            excluded=planned.excluded,
            measure=sweep.measure,
            most=None if all_cases else 40,
            forecast_s=api.forecast_s(planned, sweep, db=_database(db)),
        )
    )
    raise typer.Exit(ExitCode.DONE if planned.cases else ExitCode.WRONG_REQUEST)


@app.command()
def report(run: RunRef = "latest", db: Database = None) -> None:
    """Write the report of a stored run again."""
    from convbench import api

    database = _database(db)
    if not api.is_export(run):
        _send_waiting(database)
    loaded = api.load(run, db=database)
    path = loaded.write_report()
    if not api.is_export(run):  # which is not stored, and may come without any database
        _write_index(loaded.run, database)
    print(path)


@app.command()
def runs(db: Database = None) -> None:
    """List what is stored, newest first."""
    from convbench.report.runs import runs_text
    from convbench.store import Store

    _send_waiting(_database(db))
    with Store.open(_database(db)) as store:
        print(runs_text(store.runs()))


def _send_waiting(db: str | None) -> None:
    """Send what an earlier run left on this disk because the database's server was away."""
    from convbench.progress import say
    from convbench.store import send_waiting

    send_waiting(db, told=say)


baseline = typer.Typer(help="Names for runs, to compare with.", rich_markup_mode=None, no_args_is_help=True)
app.add_typer(baseline, name="baseline")
BaselineName = Annotated[str, typer.Argument(metavar="NAME", help="Begins with a letter: main, release/1.2.")]


@baseline.command("set")
def baseline_set(
    name: BaselineName,
    run: Annotated[str, typer.Argument(metavar="RUN", help=_STORED_HELP)],
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
    _send_waiting(_database(db))
    with Store.change(_database(db)) as store:
        made = store.set_baseline(name, run, set_at=datetime.now(UTC).isoformat())
    print(f"{made.name} is run {made.run_id}")


@baseline.command("list")
def baseline_list(db: Database = None) -> None:
    """List the names and their runs."""
    from convbench.report.runs import baselines_text
    from convbench.store import Store

    with Store.open(_database(db)) as store:
        print(baselines_text(store.baselines()))


@baseline.command("remove")
def baseline_remove(name: BaselineName, db: Database = None) -> None:
    """Forget a name; its run stays."""
    from convbench.store import Store

    with Store.change(_database(db)) as store:
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
    from convbench.export import export as exported

    content = exported(api.load(run, db=_database(db)).run, form)
    if output is not None:
        api.write_bytes(output, content)
    else:
        sys.stdout.buffer.write(content)


@app.command()
def compare(
    base: Annotated[str, typer.Argument(metavar="BASE", help="The run to compare with, named like NEW.")],
    new: Annotated[
        str, typer.Argument(metavar="NEW", help="latest, a run id or a unique prefix of one, or a JSON export.")
    ],
    across_environments: Annotated[
        bool, typer.Option("--across-environments", help="Compare runs of different machines or versions all the same.")
    ] = False,
    db: Database = None,
) -> None:
    """Tell what changed between two runs.

    One line for each case that is not unchanged, then the changes that belong together, then the verdict of all. Exits
    with 1 where a case regressed, 4 where the runs cannot be compared, 5 where noise hides too much.
    """
    from convbench import api
    from convbench.report.compare import compare_text

    gc.disable()  # millions of blocks and no garbage among them
    found = api.compare(base, new, db=_database(db), across_environments=across_environments)
    print(compare_text(found))
    raise typer.Exit(comparison_exit_code(found))


def comparison_exit_code(comparison: Comparison) -> ExitCode:
    """The first exit code of the contract that applies to two runs that were compared."""
    from convbench.analysis.comparison import Verdict
    from convbench.result import UNMEASURED, Status

    statuses = {judgment.new_status for judgment in comparison.judgments}
    if Status.FAILED in statuses or comparison.verdict is Verdict.REGRESSED:
        return ExitCode.FAILED_OR_REGRESSED
    if statuses & UNMEASURED:
        return ExitCode.NOT_MEASURED
    return ExitCode.TOO_NOISY if comparison.verdict is Verdict.INCONCLUSIVE else ExitCode.DONE


def _setting(help_text: str) -> typer.models.OptionInfo:
    """An option of `explain`, its value written as in YAML."""
    option: typer.models.OptionInfo = typer.Option(metavar="VALUE", help=help_text, rich_help_panel=None)
    return option


@app.command()
def explain(
    case: Annotated[str | None, typer.Argument(metavar="CASE", help="The id of a stored case.")] = None,
    in_channels: Annotated[str | None, _setting("Channels of the input.")] = None,
    out_channels: Annotated[str | None, _setting("Channels of the output.")] = None,
    kernel_size: Annotated[str | None, _setting("An integer, or [height, width].")] = None,
    input_size: Annotated[str | None, _setting("An integer, or [height, width].")] = None,
    stride: Annotated[str | None, _setting("An integer, or [height, width].")] = None,
    padding: Annotated[str | None, _setting("An integer, [height, width], same, valid or half.")] = None,
    dilation: Annotated[str | None, _setting("An integer, or [height, width].")] = None,
    groups: Annotated[str | None, _setting("An integer, or depthwise.")] = None,
    bias: Annotated[str | None, _setting("true or false.")] = None,
    padding_mode: Annotated[str | None, _setting("zeros, reflect, replicate or circular.")] = None,
    batch_size: Annotated[str | None, _setting("Images at once; null is one unbatched image.")] = None,
    dtype: Annotated[str | None, _setting("float16, bfloat16, float32 or float64.")] = None,
    memory_format: Annotated[str | None, _setting("contiguous or channels_last.")] = None,
    direction: Annotated[str | None, _setting("forward, backward, grad_input, grad_weight or train_step.")] = None,
    device: Annotated[str | None, _setting("cpu, cuda, cuda:1, ... or accelerator.")] = None,
    threads: Annotated[str | None, _setting("An integer; null is torch's default.")] = None,
    module: Annotated[str | None, _setting("torch.nn.Conv2d, or package.module:Class.")] = None,
    allocator: Annotated[str | None, _setting("steady or system.")] = None,
    cache: Annotated[str | None, _setting("hot or cold.")] = None,
    data: Annotated[str | None, _setting("normal, zeros or denormal.")] = None,
    autocast: Annotated[str | None, _setting("none, bfloat16 or float16.")] = None,
    fp32_precision: Annotated[str | None, _setting("default, ieee, tf32 or bf16.")] = None,
    deterministic: Annotated[str | None, _setting("true or false.")] = None,
    cudnn_benchmark: Annotated[str | None, _setting("true or false.")] = None,
    env: Annotated[str | None, _setting("Variables of the worker: {NAME: value, ...}.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The page. [default: reports/explain-<case id>.html]", show_default=False),
    ] = None,
    db: Database = None,
) -> None:
    """Explain one layer's shapes, parameters and work.

    Name a case that is stored, or give the settings of a layer; their values are written as in YAML. The explanation
    goes to standard output, and once more into a page to play with, whose path ends standard error.
    """
    from convbench import sweep as sweeps
    from convbench.case import SETTINGS
    from convbench.report.explain import explain as explained

    arguments = locals()
    options = {name: arguments[name] for name in SETTINGS if arguments.get(name) is not None}
    if case is None:
        chosen = sweeps.case_of(options)
    elif options:
        raise RequestError("give a case id or the settings of a layer, not both")
    else:
        from convbench.store import Store

        with Store.open(_database(db)) as store:
            chosen = store.find_case(case)
    print(explained(chosen), flush=True)
    _write_explanation(chosen, output)
    raise typer.Exit(ExitCode.WRONG_REQUEST if chosen.objection() else ExitCode.DONE)


def _write_explanation(case: Case, output: Path | None) -> None:
    """Write the page of `explain`; one that nobody asked for by name may fail."""
    from convbench import api
    from convbench.report import explain_page

    path = output or api.REPORTS / explain_page.file_name(case)
    try:
        api.write_bytes(path, explain_page.render(case).encode())
    except RequestError as error:
        if output is not None:
            raise
        print(f"no page to play with: {error.message}", file=sys.stderr)
    else:
        print(f"the same to play with: {path}", file=sys.stderr)


@app.command()
def repro(
    case: Annotated[str, typer.Argument(metavar="CASE", help="The id of a stored case, or its beginning.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A file instead of standard output.")] = None,
    db: Database = None,
) -> None:
    """Write one case as a short script that needs torch alone.

    To run under perf or another profiler, or to paste into a bug report.
    """
    from convbench import api
    from convbench.engine.local import LocalEngine
    from convbench.report.repro import repro as script_of
    from convbench.store import Store

    with Store.open(_database(db)) as store:
        chosen = store.find_case(case)
    content = script_of(chosen, LocalEngine().variables(chosen.worker)).encode()
    if output is not None:
        api.write_bytes(output, content)
    else:
        sys.stdout.buffer.write(content)


@app.command()
def check() -> None:
    """Tell what disturbs a measurement on this machine."""
    from convbench.checkup import check_machine, checkup_text
    from convbench.engine.local import LocalEngine

    print(checkup_text(check_machine(LocalEngine())))


def main() -> NoReturn:
    """The command: every error becomes a message and an exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
        getattr(sys, name).reconfigure(errors="backslashreplace")
    sys.exit(_guarded(lambda: app(prog_name="convbench")))


def _without_output(code: ExitCode) -> ExitCode:
    """The code, after standard output was pointed nowhere: Python would complain once more when it flushes.

    A reader that has gone, as `head` does, is no mistake.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _guarded(command: Callable[[], object]) -> int:
    try:
        try:
            command()
        finally:
            sys.stdout.flush()
    except ConvbenchError as error:
        _complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return _without_output(ExitCode.DONE)
    except OSError as error:
        # The output's: rooms turn what they meet on disk into errors of their own.
        print(f"error: cannot write the output: {error.strerror or error}", file=sys.stderr)
        return _without_output(ExitCode.WRONG_REQUEST)
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # click makes exit code 1 of it
            return _without_output(ExitCode.DONE)
        return ended.code if isinstance(ended.code, int) else ExitCode.DONE
    except Exception:
        traceback.print_exc()
        print("this is a fault of convbench itself; please report it with the lines above", file=sys.stderr)
        return ExitCode.FAULT
    return ExitCode.DONE


def _complain(error: ConvbenchError) -> None:
    told = error.message if isinstance(error, SweepError) else f"error: {error.message}"  # its lines begin with places
    print(told, file=sys.stderr)
    if error.hint:
        print(f"  hint: {error.hint}", file=sys.stderr)


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """End as on Ctrl-C, with everything kept, when the system or CI asks to terminate."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
