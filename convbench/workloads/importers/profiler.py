"""Traces of torch.profiler in Chrome's JSON, recorded with `record_shapes=True`.

Under autocast `aten::conv2d` occurs twice for a call, so that `aten::convolution` alone is counted, and its backward.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from convbench.errors import RequestError
from convbench.model.case import Case
from convbench.workloads.importers import aten
from convbench.workloads.importers.json_stream import NotJsonError, entries
from convbench.workloads.importers.layers import INCOMPLETE, Found, Layer, Note, NotTakenError, Steps
from convbench.workloads.importers.literals import NotALiteralError, Tensor, Value, parse, whole
from convbench.workloads.importers.source import Source
from convbench.workloads.workload import Refused

EXAMPLE = '{"name": "aten::convolution", "args": {"Input Dims": [[2, 3, 32, 32], ...], "Concrete Inputs": [...]}, ...}'
SUBJECT = "the trace"
OPERATORS: Mapping[str, Callable[[Sequence[Value]], Case]] = {
    "aten::convolution": aten.forward,
    "aten::convolution_backward": aten.backward,
}
#: Where an event has what is needed of its arguments.
_COLUMNS = ("Input Dims", "Input type", "Input Strides", "Concrete Inputs")
#: How many different calls are remembered.
MOST_KNOWN = 4096
#: Calls that a compiler makes in the place of a convolution and its neighbours.
_FUSED = re.compile(r"\w+::\w*convolution_(pointwise|(add_)?relu)\w*")
_STEP = re.compile(r"ProfilerStep#\d+")
_NO_SHAPES = "the trace has no shapes: record it with torch.profiler.profile(record_shapes=True)"
_NO_CONCRETE = (
    "the trace has no Concrete Inputs, so that stride and padding are unknown: record it with torch 2.1 or newer"
)
_WITH_OTHERS = "it is fused with other work by a compiler, and its event has not all of its sizes"
_ON_DEVICE = "times are left out: the trace is of a device, and its calls of operators launch kernels alone"
#: The longest time of an event, microseconds: a year.
LONGEST_US = 366 * 86400 * 1e6
#: The kind of an event that ran on a device.
_KERNEL = "kernel"


def detects(source: Source) -> bool:
    """Whether the head begins JSON that has events of a trace."""
    return source.text.lstrip()[:1] in ("{", "[") and re.search(r'"(traceEvents|ph)"\s*:', source.text) is not None


def read(source: Source, sizes: Mapping[str, int]) -> Iterator[Found]:
    """Each call of a convolution. Raises RequestError for a trace that is cut or no JSON."""
    cases = _Cases()
    steps: set[str] = set()
    layers: dict[Case, tuple[int, float]] = {}
    on_device = False
    try:
        for at, event in enumerate(entries(source.pieces(), "traceEvents")):
            if not isinstance(event, dict) or not isinstance(name := event.get("name"), str):
                continue
            on_device = on_device or event.get("cat") == _KERNEL
            if _STEP.fullmatch(name):
                steps.add(name)
            elif _FUSED.fullmatch(name):
                yield Refused(place=f"event {at}", reason=_WITH_OTHERS)
            elif name in OPERATORS and event.get("ph") == "X":
                try:
                    case = cases.of(name, event.get("args"))
                except NotTakenError as error:
                    yield Refused(place=f"event {at}", reason=str(error))
                else:
                    count, seconds = layers.get(case, (0, 0.0))
                    layers[case] = (count + 1, seconds + _seconds(event))
    except NotJsonError as error:
        hint = "export the trace again: the program may have ended while it was written"
        raise RequestError(f"{source.name} is no complete trace: {error}", hint=hint) from None
    for case, (count, seconds) in layers.items():
        yield Layer(case=case, count=count, seconds=None if on_device else seconds)
    if on_device and layers:
        yield Note(_ON_DEVICE)
    if steps:
        yield Steps(len(steps))


def _seconds(event: dict[str, Any]) -> float:
    """The time of an event, which is in microseconds."""
    duration = event.get("dur", 0)
    is_time = isinstance(duration, int | float) and 0 <= duration <= LONGEST_US
    return float(duration) * 1e-6 if is_time else 0.0


class _Cases:
    """The cases of calls. Equal calls are read once: to read one takes longer than to decode its JSON."""

    def __init__(self) -> None:
        self._known: dict[str, Case] = {}

    def of(self, name: str, arguments: object) -> Case:
        """The case of a call by its arguments in the trace. Raises NotTakenError."""
        if not isinstance(arguments, dict) or "Input Dims" not in arguments:
            raise NotTakenError(_NO_SHAPES)
        if not arguments.get("Concrete Inputs"):
            raise NotTakenError(_NO_CONCRETE)
        columns = [arguments.get(key) for key in _COLUMNS]
        key = f"{name} {columns}"
        case = self._known.get(key)
        if case is None:
            case = _case(name, columns)
            if len(self._known) < MOST_KNOWN:
                self._known[key] = case
        return case


def _case(name: str, columns: list[object]) -> Case:
    dims, types, strides, concrete = (column if isinstance(column, list) else [] for column in columns)
    strides = strides or [None] * len(dims)
    if not len(dims) == len(types) == len(strides) == len(concrete):
        raise NotTakenError(INCOMPLETE)
    try:
        tensors = [_tensor(*each) for each in zip(dims[:3], types[:3], strides[:3], strict=True)]
        rest = [parse(text) if isinstance(text, str) and text else None for text in concrete[3:]]
    except NotALiteralError:
        raise NotTakenError(INCOMPLETE) from None
    return OPERATORS[name]([*tensors, *rest])


def _tensor(dims: object, kind: object, strides: object) -> Tensor | None:
    """A tensor argument; None where the call has none."""
    if not dims or not isinstance(kind, str):
        return None
    return Tensor(shape=whole(dims), dtype=kind, strides=whole(strides) if strides else None)
