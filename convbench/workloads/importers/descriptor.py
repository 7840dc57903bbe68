"""oneDNN's text for the sizes of a convolution, as benchdnn reads it and as verbose logs print it.

`mb2_ic3oc8_ih32oh16kh3sh2dh0ph1_iw32ow16kw3sw2dw0pw1`. The rules are those of oneDNN's
tests/benchdnn/conv/conv_aux.cpp: underscores mean nothing, the batch is 2, a stride is 1, and a dilation is torch's
minus 1. Sizes along the width that are all missing are those along the height.
"""

from __future__ import annotations

import re
from functools import lru_cache

from convbench.model.problem import Problem
from convbench.workloads.importers.layers import INCOMPLETE, NotTakenError, problem

_NAMES = ("mb", "ic", "oc", "g", *(f"{size}{axis}" for size in "iokspd" for axis in "dhw"))
_TERM = re.compile(rf"_*({'|'.join(_NAMES)})([0-9]{{1,18}})_*")
#: benchdnn's batch where the text has none.
BATCH = 2


def split(text: str) -> tuple[dict[str, int], str | None]:
    """The sizes of a descriptor by their names, and what follows its `n`. Raises NotTakenError for another text."""
    found: dict[str, int] = {}
    at = 0
    while at < len(text):
        term = _TERM.match(text, at)
        if term is None:
            rest = text[at:].lstrip("_")
            if rest.startswith("n"):
                return found, rest[1:]
            raise NotTakenError("it is no descriptor of a convolution")
        found[term[1]] = int(term[2])
        at = term.end()
    return found, None


@lru_cache(maxsize=4096)
def read(text: str, *, bias: bool, batch_size: int | None = None) -> tuple[Problem, str | None]:
    """The problem of a descriptor, and its name. `batch_size` replaces the descriptor's own."""
    sizes, name = split(text)
    axes = [_Axis(sizes, axis) for axis in "dhw"]
    deep, high, wide = axes
    if deep.is_given:
        raise NotTakenError("it has 3 spatial dimensions: convbench measures 2")
    if not high.is_given:
        raise NotTakenError("it has 1 spatial dimension: convbench measures 2" if wide.is_given else INCOMPLETE)
    both = [high, wide if wide.is_given else high]
    return problem(
        in_channels=sizes.get("ic", 0),
        out_channels=sizes.get("oc", 0),
        kernel_size=[each.kernel for each in both],
        input_size=[each.input for each in both],
        stride=[each.stride for each in both],
        padding=[each.padding for each in both],
        dilation=[each.dilation + 1 for each in both],
        groups=sizes.get("g", 1),
        bias=bias,
        batch_size=batch_size or sizes.get("mb", BATCH),
        output_size=[each.output for each in both],
    ), name


class _Axis:
    """The sizes along one dimension, with what the others imply."""

    def __init__(self, sizes: dict[str, int], axis: str) -> None:
        self.input, self.kernel = sizes.get(f"i{axis}", 0), sizes.get(f"k{axis}", 0)
        self.stride, self.dilation = sizes.get(f"s{axis}", 1), sizes.get(f"d{axis}", 0)
        self._output, self._padding = sizes.get(f"o{axis}", 0), sizes.get(f"p{axis}")
        self.is_given = bool(
            self.input or self.kernel or self._output or self.dilation or self.stride != 1 or (self._padding or 0) > 0
        )

    @property
    def _extent(self) -> int:
        if not (self.input and self.kernel and self.stride):
            raise NotTakenError(INCOMPLETE)
        return (self.kernel - 1) * (self.dilation + 1) + 1

    @property
    def padding(self) -> int:
        """As given; or half of what the output needs; or 0."""
        if self._padding is not None or not self._output:
            return self._padding or 0
        needed = (self._output - 1) * self.stride - self.input + self._extent
        if needed < -1:  # the division of C rounds -1 to 0
            raise NotTakenError("its padding is negative")
        return max(needed, 0) // 2

    @property
    def output(self) -> int:
        """As given, or by the formula."""
        return self._output or (self.input + 2 * self.padding - self._extent) // self.stride + 1


def written(problem: Problem) -> str:
    """The descriptor of a problem, all sizes given.

    ValueError where a descriptor cannot say it: without a batch, with padding other than zeros, or with a module that
    pads by itself.
    """
    if problem.batch_size is None or problem.padding_mode != "zeros" or problem.module_output_size is not None:
        raise ValueError("oneDNN has no words for it")
    axes = []
    for at, axis in enumerate("hw"):
        before = problem.pads[at][0]
        axes.append(
            f"i{axis}{problem.input_size[at]}o{axis}{problem.output_size[at]}k{axis}{problem.kernel_size[at]}"
            f"s{axis}{problem.stride[at]}d{axis}{problem.dilation[at] - 1}p{axis}{before}"
        )
    groups = f"g{problem.groups}" if problem.groups != 1 else ""
    channels = f"ic{problem.in_channels}oc{problem.out_channels}"
    return f"{groups}mb{problem.batch_size}_{channels}_{'_'.join(axes)}"
