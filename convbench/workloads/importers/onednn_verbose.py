"""Logs of ONEDNN_VERBOSE: one line for each call of a primitive, in the dialects of oneDNN 1.0 to 3.12.

`dnnl_verbose` became `onednn_verbose`; `primitive`, `v0` or `v1`, and a time came before the operation; and
`src_f32:` became `src:f32:`. The line with `template:` names the fields behind them (oneDNN's dev_guide_verbose).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from convbench.model.case import Case, Fp32Precision
from convbench.model.problem import Direction
from convbench.workloads.importers import descriptor
from convbench.workloads.importers.layers import (
    INCOMPLETE,
    TRANSPOSED,
    Found,
    Layer,
    Note,
    NotTakenError,
    dtype_of,
)
from convbench.workloads.importers.source import Source
from convbench.workloads.workload import Refused

EXAMPLE = (
    "onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx2,forward_training,src:f32:a:blocked:abcd::f0 ...,,"
    "alg:convolution_direct,mb2_ic3oc8_ih32oh16kh3sh2dh0ph1_iw32ow16kw3sw2dw0pw1,0.064"
)
SUBJECT = "the log"
#: The fields of a line from its operation on, where no template stands before it.
FIELDS = (
    "operation",
    "engine",
    "primitive",
    "implementation",
    "prop_kind",
    "memory_descriptors",
    "attributes",
    "auxiliary",
    "problem_desc",
    "exec_time",
)
DIRECTIONS: Mapping[str, Direction] = {
    "forward_training": Direction.FORWARD,
    "forward_inference": Direction.FORWARD,
    "backward_data": Direction.GRAD_INPUT,
    "backward_weights": Direction.GRAD_WEIGHT,
}
#: oneDNN's modes of floating-point math -> torch's precision of float32.
MATH: Mapping[str, Fp32Precision] = {"bf16": Fp32Precision.BF16, "tf32": Fp32Precision.TF32}
#: The versions of the format that are known; older ones name none.
VERSIONS = ("v0", "v1")

_LINE = re.compile(r"(?:onednn|dnnl|mkldnn)_verbose,.*")
_DETECT = re.compile(r"(?:onednn|dnnl|mkldnn)_verbose,")
_VERSION = re.compile(r"v\d+")
_TIME = re.compile(r"\d+(?:\.\d+)?")
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_CREATED = re.compile(r",create[:,].*,convolution,")
_TENSOR = re.compile(r"(?:diff_)?(src|wei|bia|dst)[:_](\w+):")
_FUSED = re.compile(r"attr-post-ops:\S*\bdw[:_]")
_MATH = re.compile(r"attr-fpmath:(\w+)")
_LAYOUTS = "layouts in the log are oneDNN's own, so that memory_format is left at its default"
_NATIVE = "convolutions that torch ran without oneDNN are not in the log"


def detects(source: Source) -> bool:
    """Whether a line of such a log is in the head."""
    return _DETECT.search(source.text) is not None


def read(source: Source, sizes: Mapping[str, int]) -> Iterator[Found]:
    """Each call of a convolution. Lines of other primitives, and those that create one, are left out."""
    fields: tuple[str, ...] = FIELDS
    calls = created = 0
    for number, line in source.lines():
        if "_verbose," not in line or (match := _LINE.search(line)) is None:
            continue
        text = match[0]
        if "template:" in text:
            fields = _template(text) or fields
        elif "convolution" not in text:
            continue
        else:
            try:
                layer = _call(text, fields)
            except NotTakenError as error:
                yield Refused(place=f"line {number}", reason=str(error))
                continue
            if layer is not None:
                calls += 1
                yield layer
            elif _CREATED.search(text):
                created += 1
    if calls:
        yield Note(_LAYOUTS)
        yield Note(_NATIVE)
    elif created:
        reason = "the log has lines that create primitives and none that executes one: ONEDNN_VERBOSE=1 prints those"
        yield Refused(place="the whole file", reason=reason, count=created)


def _template(text: str) -> tuple[str, ...] | None:
    """The fields that a template names for primitives; None for a template of graphs."""
    before, _, names = text.partition("template:")
    if ",graph," in before:
        return None
    found = tuple(name.strip() for name in names.split(",") if name.strip() != "timestamp")
    return found if set(FIELDS) <= set(found) and found[-1] == FIELDS[-1] else None


def _call(text: str, fields: tuple[str, ...]) -> Layer | None:
    """The call of a convolution; None for a line that is none. Raises NotTakenError for one that is no case."""
    begin, _, time = text.rpartition(",")
    case = _case(begin, fields)
    return None if case is None else Layer(case=case, seconds=_seconds(time))


@lru_cache(maxsize=4096)
def _case(begin: str, fields: tuple[str, ...]) -> Case | None:
    """The case of a line without its time, so that equal calls are read once; None for a line that is no call."""
    marker, *parts = begin.split(",")
    if parts and _VERSION.fullmatch(parts[0]):
        version = parts.pop(0)
        if version not in VERSIONS:
            raise NotTakenError(f"its dialect {version} is not known: known are {' and '.join(VERSIONS)}")
    if parts and _TIME.fullmatch(parts[0]):
        parts.pop(0)
    if parts and parts[0] == "primitive":
        parts.pop(0)
    if not parts or parts[0].partition(":")[0] not in ("exec", "create", "create_nested"):
        return None
    if marker.startswith("mkldnn"):
        raise NotTakenError("it is of oneDNN before 1.0, whose lines name no dtypes")
    if len(parts) != len(fields) - 1:
        raise NotTakenError(INCOMPLETE)
    values = dict(zip(fields, parts, strict=False))
    if values["primitive"] == "deconvolution" and values["operation"] == "exec":
        raise NotTakenError(TRANSPOSED)
    if values["primitive"] != "convolution" or values["operation"] != "exec":
        return None
    return _described(*(values[name] for name in ("prop_kind", "memory_descriptors", "attributes", "problem_desc")))


def _seconds(text: str) -> float:
    """The time of a line, which is in milliseconds."""
    if not _NUMBER.fullmatch(text.strip()) or not math.isfinite(float(text)):
        raise NotTakenError(INCOMPLETE)
    return float(text) * 1e-3


@lru_cache(maxsize=4096)
def _described(prop_kind: str, tensors: str, attributes: str, problem: str) -> Case:
    """The case of these fields, which are the same for equal calls also where each line has the time of day."""
    direction = DIRECTIONS.get(prop_kind)
    if direction is None:
        raise NotTakenError(INCOMPLETE if not prop_kind else "its propagation kind is not known")
    if _FUSED.search(attributes):
        raise NotTakenError("it is fused with a depthwise convolution, and the sizes are those of both")
    dtypes = dict(_TENSOR.findall(tensors))
    if not {"src", "wei", "dst"} <= dtypes.keys():
        raise NotTakenError(INCOMPLETE)
    bias = dtypes.get("bia", "undef") != "undef"
    math = _MATH.search(attributes)
    return Case(
        problem=descriptor.read(problem, bias=bias)[0],
        direction=direction,
        dtype=dtype_of(dtypes["src"], dtypes["wei"], dtypes["dst"]),
        fp32_precision=MATH.get(math[1], Fp32Precision.DEFAULT) if math else Fp32Precision.DEFAULT,
    )
