"""Times one layer by its settings: makes a sweep of them, which `run_planned` measures and stores like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from convbench import sweep as sweeps
from convbench.errors import RequestError
from convbench.model.settings import CASE_SETTINGS
from convbench.sweep.parse import parse

if TYPE_CHECKING:
    from convbench.analysis.faster import Slower
    from convbench.analysis.table.columns import Rows
    from convbench.model.result import Run
    from convbench.workloads.request import Request

#: What is measured of a setting that is not given. One thread as in torch.utils.benchmark: with as many threads as
#: cores, any other program makes a layer many times slower.
DEFAULTS: Mapping[str, Sequence[str]] = {"threads": ("1",), "direction": ("forward", "backward")}
#: Three rounds of the usual blocks of 20 ms, in as many processes as usual: two settings settle in about 10 s.
MEASURE: Mapping[str, float] = {"rounds": 3, "max_time": 0.3}


def planned(options: Mapping[str, Sequence[str]]) -> tuple[sweeps.Sweep, sweeps.Plan]:
    """The sweep of settings, each with one value or more as written in YAML, and its plan.

    Raises RequestError with all mistakes.
    """
    left = {name: values for name, values in DEFAULTS.items() if name not in options}
    sweep = sweeps.sweep_of({**options, **left}, MEASURE)
    return sweep, sweeps.cases(sweep)


def planned_model(request: Request, options: Mapping[str, Sequence[str]]) -> tuple[sweeps.Sweep, sweeps.Plan]:
    """The sweep of a model's convolutions, and its plan. `options` are settings in place of those of the model.

    Raises RequestError with all mistakes, or where the model cannot be captured.
    """
    from convbench.actions import capturing

    wrong = [name for name in options if name not in (*CASE_SETTINGS, "batch_size")]
    if wrong:
        given = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise RequestError(f"got {given} and --model", hint="the model gives the shapes of its layers")
    axes = sweeps.values_of(options)
    text = capturing.sweep_of(capturing.captured(request), measure=MEASURE, axes=axes)
    sweep = parse(text, request.model)
    return sweep, sweeps.cases(sweep)


def answer(run: Run, sweep: sweeps.Sweep) -> tuple[Rows, list[Slower]]:
    """The rows of a run of `planned`, and which value of each setting is the fastest."""
    from convbench.analysis.faster import slower
    from convbench.analysis.table.columns import Rows

    rows = Rows(run)
    return rows, slower(run, rows, sweep)
