"""The verb that times one layer."""

from __future__ import annotations

import importlib
import sys
from threading import Thread
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from convbench.cli import exits
from convbench.cli.interrupt import sigterm_as_interrupt
from convbench.cli.model_options import (
    ArgumentOption,
    ChannelsLastOption,
    InputOption,
    InputsOption,
    ModelOption,
    ModelOptions,
    RealOption,
    TrainOption,
)
from convbench.cli.options import Database, database_of
from convbench.cli.output import flush, say, show
from convbench.cli.terminal import columns, painted
from convbench.errors import ExitCode, RequestError
from convbench.units import flat

if TYPE_CHECKING:
    from convbench.model.result import Run
    from convbench.sweep import Plan, Sweep


def time(
    settings: dict[str, list[str]],
    in_: Annotated[str | None, typer.Argument(metavar="IN", help="Channels of the input.")] = None,
    out: Annotated[str | None, typer.Argument(metavar="OUT", help="Channels of the output.")] = None,
    model: ModelOption = None,
    inputs: InputOption = None,
    inputs_from: InputsOption = None,
    arguments: ArgumentOption = None,
    train: TrainOption = False,
    channels_last: ChannelsLastOption = False,
    real: RealOption = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start a new run instead of resuming.")] = False,
    db: Database = None,
) -> None:
    """Time one layer, forward and backward, or several settings of it.

    An option that is repeated gives one case for each value, and the end says which value is faster. Values are written
    as in YAML. Unless given, direction is forward and backward, and threads is 1. On a terminal, the times are shown
    while they are measured. Ctrl-C ends early and keeps them. The run is stored; prints the command for its report.

    With --model and --input, it times the convolutions of a model. --autocast is then that of the whole model.
    """
    from convbench.actions import measure, timing
    from convbench.cli.progress import RunProgress
    from convbench.conduct.listening import Listener

    if model is not None and (in_ is not None or out is not None):
        raise RequestError("got channels and --model", hint="give one or the other")
    options = ModelOptions(
        inputs=inputs,
        inputs_from=inputs_from,
        arguments=arguments,
        train=train,
        autocast=None if model is None else _only(settings.pop("autocast", [])),
        channels_last=channels_last,
        real=real,
    )
    request = options.request(model)

    for name, value in (("in_channels", in_), ("out_channels", out)):
        if value is not None and name in settings:
            raise RequestError(f"got --{name.replace('_', '-')} and an argument for it", hint="give one or the other")
        if value is not None:
            settings[name] = [value]
    database = database_of(db)
    sweep, plan = timing.planned(settings) if request is None else timing.planned_model(request, settings)
    for rejection in plan.rejections if plan.cases else ():
        say(f"torch would refuse {flat(rejection.label)}: {flat(rejection.reason)}")

    def so_far(run_id: str) -> str:
        return painted(_text(measure.measured(run_id, db=database).run, sweep, plan, sys.stderr), sys.stderr)

    shown = RunProgress(below=so_far)
    # What writes the table is imported while the workers import torch.
    listener = shown.listener(Listener(starting=Thread(target=_load, daemon=True).start))
    with sigterm_as_interrupt():
        measured, interrupted = shown.measured(
            lambda: measure.run_planned(sweep, plan, db=database, fresh=fresh, listener=listener), database
        )
    show(_text(measured.run, sweep, plan, sys.stdout))
    flush()
    if interrupted:
        say("interrupted: results are kept; the same command resumes the run")
    say(f"report: `convbench report {measured.id}`{' with the same --db' if db is not None else ''}")
    raise typer.Exit(ExitCode.INTERRUPTED if interrupted else exits.of_run(measured.run))


def _load() -> None:
    for name in ("rich.progress", "convbench.analysis.faster", "convbench.report.text.timing"):
        importlib.import_module(name)


def _only(values: list[str]) -> str | None:
    """The value of an option that a model takes once; None where it was not given."""
    if len(values) > 1:
        raise RequestError("got --autocast twice with --model", hint="time it once with each")
    return values[0] if values else None


def _text(run: Run, sweep: Sweep, plan: Plan, stream: TextIO) -> str:
    """The table of the cases and what is faster, as wide as the stream."""
    from convbench.actions import timing
    from convbench.report.text.timing import answer_text, times_text

    rows, found = timing.answer(run, sweep)
    width = columns(stream)
    return "\n".join(filter(None, [times_text(rows, plan.cases, width), answer_text(run, found, width)]))
