"""Lists of convolutions in DeepBench's C++: `make_tuple(w, h, c, n, k, s, r, pad_w, pad_h, wstride, hstride)`.

Widths come first; `s` is the width of the kernel (DeepBench's code/kernels/conv_problems.h).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from convbench.model.case import Case
from convbench.workloads.importers.layers import Found, Layer, Note, NotTakenError, problem
from convbench.workloads.importers.source import Source
from convbench.workloads.workload import Refused

EXAMPLE = "std::make_tuple(700, 161, 1, 4, 32, 20, 5, 0, 0, 2, 2),"
SUBJECT = "the file"
#: How many numbers a convolution has.
NUMBERS = 11
_TUPLE = re.compile(r"make_tuple\s*\(([^()]*)\)?")
_TIMED = "DeepBench names neither dtype nor direction: the layers are float32 and forward"


def detects(source: Source) -> bool:
    """Whether the head has such a tuple."""
    return "make_tuple" in source.text


def read(source: Source, sizes: Mapping[str, int]) -> Iterator[Found]:
    """The layer of each tuple that is not in a comment."""
    for number, line in source.lines():
        for numbers in _TUPLE.findall(line.partition("//")[0]):
            try:
                yield Layer(case=_case(numbers))
            except NotTakenError as error:
                yield Refused(place=f"line {number}", reason=str(error))
    yield Note(_TIMED)


def _case(text: str) -> Case:
    words = [word.strip() for word in text.split(",")]
    if len(words) != NUMBERS or not all(word.isascii() and word.isdecimal() and len(word) < 19 for word in words):
        raise NotTakenError(f"expected {NUMBERS} numbers")
    width, height, channels, batch, filters, across, down, pad_w, pad_h, step_w, step_h = map(int, words)
    return Case(
        problem=problem(
            in_channels=channels,
            out_channels=filters,
            kernel_size=[down, across],
            input_size=[height, width],
            stride=[step_h, step_w],
            padding=[pad_h, pad_w],
            dilation=[1, 1],
            groups=1,
            bias=False,
            batch_size=batch,
        )
    )
