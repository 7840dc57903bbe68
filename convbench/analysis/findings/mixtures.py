"""The best setting for each layer of a network, with the changes of layout and dtype that a mixture needs between them.

A change is a copy of the tensor between two neighbours in the order of the sweep. A training step copies its gradient
back too. Each border is paid as often as the more frequent of its two layers occurs. So in a block that repeats, the
border behind it stands for the way back to its first layer. Other operations between layers are not known and not
counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from convbench.analysis.network.parts import Part
from convbench.analysis.table.metrics import Copies
from convbench.model.case import DTYPES, Case, InputFormat
from convbench.model.settings import TABLE

#: Choices that hold for all layers. Variables and the allocator hold for a process. Transfers between devices are not
#: measured.
_FOR_ALL = ("device", "allocator", "env")
#: The settings that a mixture may choose for each layer.
MIXED = tuple(name for name, row in TABLE.items() if row.choice and name not in _FOR_ALL)
#: How often a part copies the tensor at a border.
_COPIES = {Part.FORWARD: 1, Part.STEP: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """The option of each layer that makes the lowest sum with the changes between layers.

    `seconds` includes `copies_s`, which is NaN where changes are needed and no copy was measured: then they are not in
    the sum. `changes` are the copies, each as often as it occurs.
    """

    chosen: tuple[int, ...]
    seconds: float
    copies_s: float
    changes: int


def lowest(seconds: Sequence[Sequence[float]], border: Callable[[int, int, int], float]) -> tuple[int, ...]:
    """The option of each place that makes the lowest sum of times and borders.

    `seconds` has the times of the options of each place, infinite where one may not be chosen. `border` gives the time
    between a place and the one before, by the place and both options.
    """
    if not seconds:
        return ()
    sums = {option: each for option, each in enumerate(seconds[0]) if math.isfinite(each)}
    before = list[dict[int, int]]()
    for place in range(1, len(seconds)):
        steps, after = dict[int, int](), dict[int, float]()
        for own, each in enumerate(seconds[place]):
            if math.isfinite(each):
                ways = {option: taken + border(place, option, own) for option, taken in sums.items()}
                steps[own] = min(ways, key=ways.__getitem__)
                after[own] = ways[steps[own]] + each
        before.append(steps)
        sums = after
    chosen = [min(sums, key=sums.__getitem__)]
    for steps in reversed(before):
        chosen.append(steps[chosen[-1]])
    return tuple(reversed(chosen))


def mixture(
    options: Sequence[Sequence[Case]],
    seconds: Sequence[Sequence[float]],
    counts: Sequence[int],
    part: Part,
    copies: Copies,
) -> Mixture:
    """The best mixture of a chain of layers.

    `options` are the cases of each layer, all of one problem. `seconds` are their times in all `counts` occurrences of
    the layer, infinite where one may not be chosen.
    """

    def number(place: int, before: int, own: int) -> int:
        if not is_change(options[place - 1][before], options[place][own]):
            return 0
        return max(counts[place - 1], counts[place]) * _COPIES[part]

    def border(place: int, before: int, own: int) -> float:
        found = number(place, before, own)
        each = copy_s(options[place - 1][before], options[place][own], copies) if found else 0.0
        return found * each if math.isfinite(each) else 0.0

    chosen = lowest(seconds, border)
    steps = [(place, chosen[place - 1], chosen[place]) for place in range(1, len(chosen))]
    changes = sum(number(*step) for step in steps)
    each = [
        copy_s(options[at - 1][before], options[at][own], copies)
        for at, before, own in steps
        if number(at, before, own)
    ]
    copies_s = sum(border(*step) for step in steps)
    return Mixture(
        chosen=chosen,
        seconds=sum(times[option] for times, option in zip(seconds, chosen, strict=True)) + copies_s,
        copies_s=math.nan if any(map(math.isnan, each)) else copies_s,
        changes=changes,
    )


def is_change(before: Case, after: Case) -> bool:
    """Whether the output of a layer is copied before the next one takes it: another dtype, or another layout.

    A tensor of one channel or one pixel lies alike in both layouts.
    """
    problem = after.problem
    if before.dtype != after.dtype:
        return True
    has_layout = problem.in_channels > 1 and max(problem.input_size) > 1
    return has_layout and before.memory_format != _taken(after)


def _taken(case: Case) -> str:
    """The layout in which a layer takes its input."""
    plain = case.input_format in (InputFormat.SAME, InputFormat.STRIDED)
    return case.memory_format if plain else case.input_format


def copy_s(before: Case, after: Case, copies: Copies) -> float:
    """Seconds of one change of the tensor between two layers, the input of the later one; NaN without a known rate.

    It reads each element in the dtype of the earlier layer and writes it in that of the later one.
    """
    elements = math.prod(after.problem.input_shape)
    moved = elements * (DTYPES[before.dtype] + DTYPES[after.dtype])
    return float(copies.seconds(after.device, after.threads, np.array([moved], dtype=np.float64))[0])
