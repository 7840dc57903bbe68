"""By how much all cases moved together from run to run, because of other processes or the clock frequency. Pure.

The middle of the shortest half (Rousseeuw, "Least median of squares regression", 1984) stays where most cases are. A
change of the code does not move it, if it affects fewer than half of the cases. It also stays where a change affects
half of them and spreads them more widely. The median would move there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from convbench.measure.estimate import Floats

#: The largest common shift, and the largest width of the shortest half, on one machine, as ratios minus 1. A change of
#: the code seldom affects half of the cases; a change of the machine affects all. In 29 pairs of runs of one machine
#: the shortest half moved by up to 3.1 % (bench/detection).
MOST_SHIFT = 0.04
#: The fewest cases from which a shift is estimated: of five, a change of the code in three would pass for a shift.
FEWEST_CASES = 6
#: A common shift is reported from this size on, as a ratio minus 1.
REPORTED = 0.01
#: The most that rounding adds to a logarithm. Halves whose widths differ by less are equally short.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonShift:
    """By how much the cases moved together.

    - `ratio` is the expected move of every case, new over base; 1 where it cannot be estimated.
    - `moved` is the move of the shortest half as a ratio minus 1. Where that half is wide, it is half of its width if
      that is more.
    - `is_machine` is true where this is too much for one machine.
    """

    ratio: float = 1.0
    moved: float = 0.0
    is_machine: bool = False


def is_reported(shift: float) -> bool:
    """Whether a common `shift`, new over base, is large enough to be reported."""
    return abs(math.log(shift)) >= math.log1p(REPORTED)


def common_shift(ratios: Floats) -> CommonShift:
    """The common shift of cases with these ratios; ratios that are NaN, infinite or not positive are ignored.

    It is the middle of the shortest majority that is narrow enough and did not move too far. Without one it is the
    middle of such a half. Where one half moved and the other did not, the half that moved is the change.
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
    """The width and the middle of every window of `size` neighbours."""
    low, high = ordered[: len(ordered) - size + 1], ordered[size - 1 :]
    return high - low, (low + high) / 2


def _shortest(width: Floats, middle: Floats) -> tuple[float, float]:
    """The middle of the shortest window and its width; where several are equally short, the mean of their middles."""
    shortest = float(width.min())
    return float(np.mean(middle[width <= shortest + ROUNDING])), shortest
