"""MIOpen's find-db: one line for each problem, with the times of its solvers on one device.

`64-56-56-3x3-64-56-56-32-1x1-1x1-1x1-0-NCHW-FP16-F=...`: channels, height, width, kernel, output channels, height,
width, batch, padding, stride, dilation, bias, layout, dtype, direction (MIOpen's src/conv/problem_description.cpp).
For B and W the first tensor is the output's gradient, so that the line begins with the output's sizes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from convbench.model.case import Case, MemoryFormat
from convbench.model.problem import Direction
from convbench.workloads.importers.layers import INCOMPLETE, Found, Layer, NotTakenError, dtype_of, problem
from convbench.workloads.importers.source import Source
from convbench.workloads.workload import Refused

EXAMPLE = "64-56-56-3x3-64-56-56-32-1x1-1x1-1x1-0-NCHW-FP16-F=ConvAsm3x3U:0.041,0,miopenConvolutionFwdAlgoDirect"
EXAMPLE_SOLVER = "ConvAsm3x3U:0.041,..."
SUBJECT = "the find-db"
DIRECTIONS: Mapping[str, Direction] = {
    "F": Direction.FORWARD,
    "B": Direction.GRAD_INPUT,
    "W": Direction.GRAD_WEIGHT,
}
_SIDES = r"\d+(?:x\d+)+"
_KEY = re.compile(
    rf"(?P<first>\d+(?:-\d+){{2,3}})-(?P<kernel>{_SIDES})-(?P<second>\d+(?:-\d+){{2,3}})-(?P<batch>\d+)"
    rf"-(?P<padding>{_SIDES})-(?P<stride>{_SIDES})-(?P<dilation>{_SIDES})-(?P<bias>\d)"
    r"-(?P<layout>[A-Z0-9]+(?:-[A-Z0-9]+-[A-Z0-9]+)?)-(?P<dtype>[A-Z0-9]+)-(?P<direction>[FBW])(?:_g(?P<groups>\d+))?"
)
_NUMBER = re.compile(r"\d+(\.\d*)?(e[-+]?\d+)?")
#: The name of a solver in older files, where it stands before the time.
_NAME = re.compile(r"[A-Za-z_][\w<>]*")
_DTYPES = re.compile(r"BF16|FP16|FP32|FP64|INT8|INT32|FP8|BFP8")
_DETECT = re.compile(
    rf"^\d+(?:-\d+){{2,3}}-{_SIDES}-\d+-[0-9x-]{{1,99}}-[A-Z0-9-]{{1,40}}-[FBW](?:_g\d+)?=", re.MULTILINE
)


def detects(source: Source) -> bool:
    """Whether the head has a line with such a key."""
    return _DETECT.search(source.text) is not None


def read(source: Source, sizes: Mapping[str, int]) -> Iterator[Found]:
    """The problem of each line, with the time of its fastest solver."""
    for number, line in source.lines():
        if not line.strip():
            continue
        try:
            key, equals, solvers = line.partition("=")
            if not equals:
                raise NotTakenError(INCOMPLETE)
            yield Layer(case=_case(key.strip()), seconds=_fastest(solvers))
        except NotTakenError as error:
            yield Refused(place=f"line {number}", reason=str(error))


def _case(key: str) -> Case:
    found = _KEY.fullmatch(key)
    if found is None:
        raise NotTakenError("its key is no problem of a convolution")
    direction = DIRECTIONS[found["direction"]]
    first, second = (_whole(found[name].split("-")) for name in ("first", "second"))
    given, result = (first, second) if direction is Direction.FORWARD else (second, first)
    made = problem(
        in_channels=given[0],
        out_channels=result[0],
        kernel_size=_whole(found["kernel"].split("x")),
        input_size=given[1:],
        stride=_whole(found["stride"].split("x")),
        padding=_whole(found["padding"].split("x")),
        dilation=_whole(found["dilation"].split("x")),
        groups=_whole([found["groups"] or "1"])[0],
        bias=found["bias"] != "0",
        batch_size=_whole([found["batch"]])[0],
        output_size=result[1:],
    )
    dtypes = _DTYPES.findall(found["dtype"])
    dtype = dtype_of(*(dtypes if "".join(dtypes) == found["dtype"] else [found["dtype"]]))
    return Case(problem=made, direction=direction, dtype=dtype, memory_format=_format(found["layout"].split("-")))


def _whole(words: list[str]) -> list[int]:
    """The numbers; of too many digits the first, which are out of range too."""
    return [int(word[:18]) for word in words]


def _format(layouts: list[str]) -> MemoryFormat:
    if set(layouts) == {"NHWC"}:
        return MemoryFormat.CHANNELS_LAST
    if set(layouts) == {"NCHW"}:
        return MemoryFormat.CONTIGUOUS
    raise NotTakenError("its tensors have different layouts, or one that torch does not have")


def _fastest(solvers: str) -> float | None:
    """Seconds of the fastest solver: `solver:ms,...`, or `algorithm:solver,ms,...` in older files. None without one.

    Raises NotTakenError where a solver is in neither form, or has no time above 0.
    """
    times = [_milliseconds(solver) for solver in solvers.split(";") if solver.strip()]
    return min(times) * 1e-3 if times else None


def _milliseconds(solver: str) -> float:
    name, colon, rest = solver.strip().partition(":")
    first, *others = rest.split(",")
    for field in (first, *others[:1]):
        if name and colon and _NUMBER.fullmatch(field):
            time = float(field)
            if math.isfinite(time) and time > 0:
                return time
            break
        if not _NAME.fullmatch(first):
            break
    raise NotTakenError(f"one of its solvers has no time above 0: expected {EXAMPLE_SOLVER}")
