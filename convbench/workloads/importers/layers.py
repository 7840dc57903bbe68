"""What a reader finds in a file: layers, what cannot become one, and remarks; and how a layer is made of numbers.

Readers know a format. What a layer of torch can be is decided here, once for all formats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from convbench import units
from convbench.model.case import Case
from convbench.model.operators import DEFAULT_OPERATOR
from convbench.model.operators.given import PaddingWord
from convbench.model.problem import Problem
from convbench.model.settings import MOST_INTEGER
from convbench.workloads.workload import Refused

#: The longest name and label of a sweep, characters (sweep/parse.py).
LONGEST_NAME = 200
#: The dtypes of the formats -> torch's.
DTYPES: Mapping[str, str] = {
    **dict.fromkeys(("f64", "fp64", "double", "float64"), "float64"),
    **dict.fromkeys(("f32", "fp32", "float", "float32"), "float32"),
    **dict.fromkeys(("f16", "fp16", "c10::half", "half", "float16"), "float16"),
    **dict.fromkeys(("bf16", "bfp16", "c10::bfloat16", "bfloat16"), "bfloat16"),
}
#: Reasons that several formats have.
TRANSPOSED = "it is transposed: convbench does not measure transposed convolutions"
UNEQUAL_PADS = f"its padding differs between two sides of a dimension: {DEFAULT_OPERATOR.name} pads both alike"
INCOMPLETE = "it is incomplete"


class NotTakenError(Exception):
    """A convolution of the file is no case; the text is the reason, which equal kinds share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution of the file. `count` is how often it occurs; `seconds` is what the file says they took together."""

    case: Case
    count: int = 1
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """What a reader of the sweep should know about the whole file."""

    text: str


@dataclass(frozen=True, slots=True)
class Steps:
    """How often the file holds the same network. Each step has its share of the counts."""

    count: int


Found: TypeAlias = Layer | Refused | Note | Steps


def dtype_of(*names: str) -> str:
    """The dtype that all tensors have, by torch's name. Raises NotTakenError for others, and for several."""
    different = []
    for name in dict.fromkeys(names):
        if name.lower() not in DTYPES:
            raise NotTakenError(f"its dtype {units.line(name, most=40)} is not one that convbench measures")
        different.append(DTYPES[name.lower()])
    if len(set(different)) != 1:
        raise NotTakenError(f"its tensors have several dtypes ({', '.join(different)}): a layer of torch has one")
    return different[0]


def label_of(text: str) -> str | None:
    """A name of the file as the label of a case: on one line, cut to `LONGEST_NAME`; None for an empty one."""
    return units.flat(text)[:LONGEST_NAME] or None


def problem(
    *,
    in_channels: int,
    out_channels: int,
    kernel_size: Sequence[int],
    input_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int] | PaddingWord,
    dilation: Sequence[int],
    groups: int,
    bias: bool,
    batch_size: int,
    output_size: Sequence[int] | None = None,
) -> Problem:
    """The problem of these numbers, all in torch's meaning: a dilation of 1 has no gaps.

    Raises NotTakenError where no layer of torch has them. `output_size` is the file's: where torch's formula gives
    another one for the same padding on both sides, the padding is not the same on both.
    """
    rank = len(kernel_size)
    if rank != DEFAULT_OPERATOR.rank:
        kind = units.plural(rank, "spatial dimension")
        raise NotTakenError(f"it has {kind}: convbench measures {DEFAULT_OPERATOR.name}")
    sides = [kernel_size, input_size, stride, dilation, *([] if isinstance(padding, PaddingWord) else [padding])]
    if any(len(each) != rank for each in sides):
        raise NotTakenError(INCOMPLETE)
    numbers = [in_channels, out_channels, groups, *kernel_size, *input_size, *stride, *dilation]
    least = [batch_size, *([] if isinstance(padding, PaddingWord) else padding)]
    if not all(1 <= each <= MOST_INTEGER for each in numbers) or not all(0 <= each <= MOST_INTEGER for each in least):
        raise NotTakenError("one of its sizes is out of range")
    made = Problem(
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=tuple(kernel_size),
        input_size=tuple(input_size),
        stride=tuple(stride),
        padding=padding if isinstance(padding, PaddingWord) else tuple(padding),
        dilation=tuple(dilation),
        groups=groups,
        bias=bias,
        batch_size=batch_size,
    )
    if (reason := made.refusal()) is not None:
        raise NotTakenError(f"torch would refuse it: {reason}")
    if output_size is not None and tuple(output_size) != made.output_size:
        raise NotTakenError(UNEQUAL_PADS)
    return made
