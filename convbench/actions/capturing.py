"""Captures the convolutions of a model: of one that is named in a process of its own, of one in hand in this one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convbench import sweep as sweeps
from convbench import units
from convbench.actions import measure as measuring
from convbench.errors import RequestError
from convbench.model.case import TORCH_MODULE, Case
from convbench.model.problem import Direction, Problem
from convbench.sweep.parse import parse
from convbench.workloads.workload import Refused, Workload

if TYPE_CHECKING:
    from convbench.workloads.request import Request

#: What `convbench run --model` compares: the choices that everybody has.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "dtype": ("float32", "bfloat16"),
    "memory_format": ("contiguous", "channels_last"),
}
#: The seconds that a run of a model may take by default.
BUDGET_S = 150.0


class CapturedModel(Workload):
    """The workload of a model, which can be written as a sweep."""

    __slots__ = ()

    def sweep(self) -> str:
        """The text of a sweep that measures it; raises RequestError where no convolution is left to measure."""
        return sweep_of(self)

    def write(self, path: str | Path) -> Path:
        """Write the sweep to a file; raises RequestError."""
        from convbench.store.files import write_bytes

        path = Path(path)
        write_bytes(path, self.sweep().encode())
        return path


def captured(request: Request) -> CapturedModel:
    """The convolutions of a model that is named; it is imported and run in a process of its own.

    Raises RequestError where that fails, or where it computes no convolution.
    """
    from convbench.engine.capturing import capture as answered

    source = f"Captured with: {request.command}"
    answer = answered(request.message())
    return _workload(answer, name=request.name, source=source, channels_last=request.channels_last)


def capture(
    model: Any,
    *inputs: object,
    train: bool = False,
    name: str | None = None,
    real: bool = False,
    **named: object,
) -> CapturedModel:
    """The convolutions of a model in hand, called with `inputs` and `named`: tensors, or tuples and lists of them.

    It runs in this process under fake tensors: it computes no numbers, and the model stays as it is. It runs in
    evaluation mode, or with `train` in training mode with a backward pass. A `torch.autocast` around this call applies.
    `name` is that of the sweep, by default the model's class. With `real` the model runs on real numbers, for a model
    that decides on them. Raises RequestError where the model fails, or computes no convolution.
    """
    from convbench.worker.capture.problems import CaptureError
    from convbench.worker.capture.running import captured as answered

    try:
        answer = answered(model, inputs, named, train=train, real=real)
    except CaptureError as problem:
        raise RequestError(problem.reason, hint=problem.hint) from problem
    kind = type(model).__name__
    source = f"Captured from a {kind} in Python, {'a training step' if train else 'forward'}."
    return _workload(answer, name=name or kind, source=source)


def _workload(answer: Mapping[str, Any], *, name: str, source: str, channels_last: bool = False) -> CapturedModel:
    from convbench.workloads.captured import workload

    made = workload(answer, name=name, source=source, channels_last=channels_last)
    return CapturedModel(name=made.name, source=made.source, cases=made.cases, refused=made.refused, notes=made.notes)


def sweep_of(
    workload: Workload,
    *,
    measure: Mapping[str, Any] | None = None,
    axes: Mapping[str, Sequence[Any]] | None = None,
) -> str:
    """The text of a sweep; raises RequestError with all reasons where no convolution is left to measure."""
    from convbench.workloads.writing import sweep_text

    if not workload.cases:
        raise nothing_left(workload)
    return sweep_text(workload, measure=measure, axes=axes)


def nothing_left(workload: Workload) -> RequestError:
    """The error for a workload without a convolution that can be measured, with all reasons."""
    reasons = [f"{count} {reason}" for reason, count in workload.reasons.items()]
    return RequestError(
        f"{units.line(workload.name)} has no convolution that convbench can measure",
        hint=[*reasons, f"name a model that has a {TORCH_MODULE}, or calls its function"],
    )


def planned(request: Request, *, budget_s: float = BUDGET_S) -> tuple[sweeps.Sweep, sweeps.Plan]:
    """The sweep that measures a model with the usual choices (CHOICES), and its plan.

    Where the budget is too short for all layers, it has the most costly ones. Raises RequestError where the model
    cannot be captured, or the budget is too short for a single layer.
    """
    found = captured(request)
    if not found.cases:
        raise nothing_left(found)
    costs = _costs(found.cases)
    layers = sorted(costs, key=lambda layer: costs[layer], reverse=True)

    def sweep_with(number: int) -> sweeps.Sweep:
        return parse(_text(found, layers[:number], budget_s), request.model)

    fitting = bisect_left(range(1, len(layers) + 1), True, key=lambda number: not _fits(sweep_with(number)))
    if not fitting:
        raise RequestError(
            f"a budget of {units.duration(budget_s)} is too short for a single layer of {units.line(request.model)}",
            hint="give more seconds with --budget",
        )
    return measuring.with_plan(sweep_with(fitting))


def _costs(cases: Iterable[Case]) -> dict[Problem, float]:
    """What a network spends in each layer over all directions and occurrences, see `schedule.cost`."""
    from convbench.measure.schedule import cost

    costs: dict[Problem, float] = {}
    for case in cases:
        costs[case.problem] = costs.get(case.problem, 0.0) + cost(case)
    return costs


def _fits(sweep: sweeps.Sweep) -> bool:
    try:
        measuring.with_plan(sweep)
    except RequestError:  # the budget is too short
        return False
    return True


def _text(found: Workload, layers: Collection[Problem], budget_s: float) -> str:
    """The sweep of these layers with the usual choices, and the model's own dtype where it is another one."""
    kept = tuple(case for case in found.cases if case.problem in layers)
    axes = {**CHOICES, "dtype": list(dict.fromkeys([*CHOICES["dtype"], *(case.dtype for case in kept)]))}
    refused = found.refused + tuple(
        _dropped(found, layers, f"a budget of {units.duration(budget_s)} is too short for layers that cost so little")
    )
    return sweep_of(replace(found, cases=kept, refused=refused), measure={"budget": budget_s}, axes=axes)


def _dropped(found: Workload, layers: Collection[Problem], reason: str) -> Iterator[Refused]:
    """The cases of other layers, with their shares of the whole work."""
    measurable = 1.0 - sum(each.work or 0.0 for each in found.refused)
    total = sum(case.flops * case.count for case in found.cases)
    for case in found.cases:
        if case.problem not in layers:
            work = measurable * case.flops * case.count / total if total else 0.0
            yield Refused(
                place=case.given_label or case.label,
                reason=reason,
                count=case.count,
                work=work,
                is_backward=case.direction is not Direction.FORWARD,
            )
