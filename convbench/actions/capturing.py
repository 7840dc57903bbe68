"""Captures the convolutions of a model: of one that is named in a process of its own, of one in hand in this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convbench.errors import RequestError
from convbench.units import line
from convbench.workloads.workload import Workload

if TYPE_CHECKING:
    from convbench.workloads.request import Request


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
        reasons = [f"{count} {reason}" for reason, count in workload.reasons.items()]
        raise RequestError(f"{line(workload.name)} has no convolution that convbench can measure", hint=reasons)
    return sweep_text(workload, measure=measure, axes=axes)
