"""Logs of operators with their inputs, as torch's benchmarks and tritonbench keep them.

`Operator: aten.convolution.default`, and below it a line for each different call: `cnt: 2, ((T(...), ...), {})`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from convbench.model.case import Case
from convbench.workloads.importers import aten
from convbench.workloads.importers.layers import Found, Layer, NotTakenError
from convbench.workloads.importers.literals import NotALiteralError, Value, parse
from convbench.workloads.importers.source import Source
from convbench.workloads.workload import Refused

EXAMPLE = (
    "cnt: 2, ((T([8, 64, 56, 56], f16), T([64, 64, 3, 3], f16), None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1), {})"
)
SUBJECT = "the log"
OPERATORS: Mapping[str, Callable[[Sequence[Value]], Case]] = {
    "aten.convolution.default": aten.forward,
    "aten.convolution_backward.default": aten.backward,
}
_OPERATOR = re.compile(r"Operator:\s*(\S+)")
_CALLS = re.compile(r"cnt:\s*([1-9]\d{0,14}),\s*(.*)")
_DETECT = re.compile(r"^Operator:\s*\S+\s*\ncnt:\s*\d+", re.MULTILINE)


def detects(source: Source) -> bool:
    """Whether the head has an operator with a call."""
    return _DETECT.search(source.text.replace("\r\n", "\n")) is not None


def read(source: Source, sizes: Mapping[str, int]) -> Iterator[Found]:
    """The calls of convolutions with their counts; those of other operators are left out."""
    operator = ""
    for number, line in source.lines():
        if begun := _OPERATOR.match(line.strip()):
            operator = begun[1]
        elif line.strip() and "conv" in operator:
            try:
                yield _calls(operator, line.strip())
            except NotTakenError as error:
                yield Refused(place=f"line {number}", reason=str(error))


def _calls(operator: str, line: str) -> Layer:
    calls = _CALLS.fullmatch(line)
    if operator not in OPERATORS:
        raise NotTakenError("it is of another operator than aten.convolution.default and its backward")
    if calls is None:
        raise NotTakenError("expected `cnt: N, (arguments, named arguments)`")
    try:
        given = parse(calls[2])
    except NotALiteralError as error:
        raise NotTakenError(f"its arguments cannot be read: {error}") from None
    if not isinstance(given, tuple) or len(given) != 2 or not isinstance(given[0], tuple):
        raise NotTakenError("expected `cnt: N, (arguments, named arguments)`")
    return Layer(case=replace(OPERATORS[operator](given[0]), count=1), count=int(calls[1]))
