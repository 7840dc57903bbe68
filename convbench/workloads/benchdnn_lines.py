"""A case as a line of benchdnn, oneDNN's own benchmark, which then times the same convolution."""

from __future__ import annotations

import re
from collections.abc import Mapping

from convbench.model.case import Case, MemoryFormat
from convbench.model.operators import OPERATORS
from convbench.model.problem import Direction
from convbench.workloads.importers import descriptor

#: The directions of benchdnn that compute a direction, with a bias and without one. A backward is two computations.
DIRECTIONS: Mapping[Direction, tuple[str, str]] = {
    Direction.FORWARD: ("FWD_B", "FWD_D"),
    Direction.BACKWARD: ("BWD_D,BWD_WB", "BWD_D,BWD_W"),
    Direction.GRAD_INPUT: ("BWD_D", "BWD_D"),
    Direction.GRAD_WEIGHT: ("BWD_WB", "BWD_W"),
    Direction.TRAIN_STEP: ("FWD_B,BWD_D,BWD_WB", "FWD_D,BWD_D,BWD_W"),
}
DTYPES: Mapping[str, str] = {"float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64"}
_TAGS: Mapping[MemoryFormat, str] = {MemoryFormat.CONTIGUOUS: "abx", MemoryFormat.CHANNELS_LAST: "axb"}


def line_of(case: Case) -> str:
    """`--reset --dir=FWD_B --dt=f32 --stag=abx --dtag=abx mb1_ic3oc8_...n"stem*2"`: the label, and the count.

    Settings of execution, such as threads or a cold cache, are not in the line. ValueError where benchdnn has no words
    for the problem: without a batch, with padding other than zeros, or with a module of the user's own.
    """
    if case.module not in OPERATORS:
        raise ValueError("benchdnn does not run a module of your own")
    text = descriptor.written(case.problem)
    tag = _TAGS[case.memory_format]
    direction = DIRECTIONS[case.direction][0 if case.problem.bias else 1]
    options = f"--dir={direction} --dt={DTYPES[case.compute_dtype]} --stag={tag} --dtag={tag}"
    return f"--reset {options} {text}{_name(case)}"


def _name(case: Case) -> str:
    """The label and the count in quotes; blanks and marks that mean something in a name become underscores."""
    label = re.sub(r"[^\w.:/+-]", "_", case.given_label or "")
    if not label and case.count == 1:
        return ""
    return f'n"{label or "layer"}*{case.count}"' if case.count != 1 else f'n"{label}"'
