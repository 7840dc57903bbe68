"""What all cases moved by together from run to run, as neighbours or a clock move them. Pure.

Rousseeuw, "Least median of squares regression" (1984): the middle of the shortest half stays where most cases are when
a change of the code meets fewer than half of them, or as many and more widely, which the median does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from convbench.measure.estimate import Floats

#: Beyond this, as a ratio minus 1, the half of the cases that moved most alike did not move with the hour, and where it
#: lies farther apart it did not move alike: a change of the code seldom meets half of the cases, a change of the
#: machine meets all. Between runs of one machine that half moved by up to 3.1 % in 29 pairs of runs (bench/detection).
MOST_SHIFT = 0.04
#: The fewest cases whose half says so: of five, three that a change of the code met would be it.
FEWEST_CASES = 6
#: From what shift on a reader is told of it, as a ratio minus 1.
WORTH_TELLING = 0.01
#: What rounding may add to a logarithm: halves that are equally short are within it.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonShift:
    """By how much the cases moved together.

    `ratio` is new over base, by which every case is expected to have moved; 1 where the cases do not tell. `moved` is
    by how much the half moved that moved most alike, as a ratio minus 1; where even that half lies far apart, half of
    its width if that is more. `is_machine` says that this is too much for one machine.
    """

    ratio: float = 1.0
    moved: float = 0.0
    is_machine: bool = False


def is_worth_telling(shift: float) -> bool:
    """Whether a reader would wonder at the ratios who was not told that all cases moved by `shift`, new over base."""
    return abs(math.log(shift)) >= math.log1p(WORTH_TELLING)


def common_shift(ratios: Floats) -> CommonShift:
    """What the cases with these ratios moved by together; those that are NaN, infinite or not positive say nothing.

    The shortest majority among those that did not move by too much, where any lies close enough together; else the
    shortest half: where one half moved and the other did not, the one that did is the change.
    """
    known = ratios[np.isfinite(ratios) & (ratios > 0)]
    if not len(known):
        return CommonShift()
    enough, limit = len(known) >= FEWEST_CASES, math.log1p(MOST_SHIFT)
    ordered = np.sort(np.log(known))
    more_than_half, half = (_windows(ordered, size) for size in (len(ordered) // 2 + 1, (len(ordered) + 1) // 2))
    for width, middle in (more_than_half, half):
        usual = (width <= limit) & (np.abs(middle) <= limit)
        if usual.any():
            center, _ = _shortest(width[usual], middle[usual])
            return CommonShift(ratio=math.exp(center) if enough else 1.0, moved=math.expm1(abs(center)))
    center, apart = _shortest(*more_than_half)
    moved = math.expm1(max(abs(center), apart / 2))
    return CommonShift(moved=moved, is_machine=enough and moved > MOST_SHIFT)


def _windows(ordered: Floats, size: int) -> tuple[Floats, Floats]:
    """How far apart the ends of each `size` neighbours lie, and where their middle is."""
    low, high = ordered[: len(ordered) - size + 1], ordered[size - 1 :]
    return high - low, (low + high) / 2


def _shortest(width: Floats, middle: Floats) -> tuple[float, float]:
    """The middle of the shortest, and its width; of equally short ones the mean of the middles."""
    shortest = float(width.min())
    return float(np.mean(middle[width <= shortest + ROUNDING])), shortest
