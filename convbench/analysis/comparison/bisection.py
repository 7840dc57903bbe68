"""Searches the commit since which a case takes another time. Pure: a function compares two commits.

The last commit is compared with the first one. Then each commit in the middle of those that are left is compared with
the first one: has half of the change come by then? At the end the commit that is left is compared with the one before.
So n commits take ceil(log2 n) + 2 comparisons at most, and one more for each commit that cannot be measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from convbench.analysis.comparison.side_by_side import CONFIRMATION, FEWEST_PAIRS
from convbench.model.bisection import Outcome, Step

#: How many times narrower than half of the change the interval of a step is meant to be.
MARGIN = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Two commits that are to be compared: the change that counts, a ratio minus 1, and the confirming pairs."""

    base: str
    new: str
    threshold: float
    pairs: int


#: Compares two commits.
Compare = Callable[[Question], Step]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How the search ended. `first` are the commits that may have made the change, the oldest first."""

    outcome: Outcome
    steps: tuple[Step, ...]
    last: Step
    first: tuple[str, ...] = ()


def search(commits: Sequence[str], compare: Compare, *, threshold: float, pairs: int = CONFIRMATION) -> Found:
    """The commit since which the time has changed, among `commits` after the first one.

    `commits` has at least two, the oldest first. `threshold` is the smallest change that counts, a ratio minus 1, and
    `pairs` the confirming pairs of a comparison. A commit that cannot be measured or decided is left out.
    """
    steps = [compare(Question(base=commits[0], new=commits[-1], threshold=threshold, pairs=pairs))]
    whole = steps[0]
    if not whole.moved:
        return Found(outcome=Outcome.NOT_SHOWN, steps=tuple(steps), last=whole)
    half, fewer = half_of(whole), pairs_for(whole, most=pairs)
    low, high, last = 0, len(commits) - 1, whole
    left_out: set[int] = set()
    while (middle := nearest_middle(low, high, left_out)) is not None:
        step = compare(Question(base=commits[0], new=commits[middle], threshold=half, pairs=fewer))
        steps.append(step)
        if step.moved is None:
            left_out.add(middle)
        elif step.moved == whole.moved:
            high, last = middle, step
        else:
            low = middle
    if low > 0:
        last = compare(Question(base=commits[low], new=commits[high], threshold=threshold, pairs=pairs))
        steps.append(last)
    outcome = Outcome.GRADUAL if last.moved != whole.moved else Outcome.FOUND if high == low + 1 else Outcome.AMONG
    return Found(outcome=outcome, steps=tuple(steps), last=last, first=tuple(commits[low + 1 : high + 1]))


def half_of(whole: Step) -> float:
    """The change of half of a step, in logarithms, as a ratio minus 1."""
    return math.expm1(abs(math.log(whole.ratio)) / 2)


def pairs_for(whole: Step, *, most: int) -> int:
    """The confirming pairs whose interval separates half of this change from none.

    An interval narrows with the square root of the pairs. Pairs are FEWEST_PAIRS to `most`.
    """
    width = math.log(whole.high / whole.low) / 2
    share = (MARGIN * width / math.log1p(half_of(whole))) ** 2
    return max(FEWEST_PAIRS, min(most, math.ceil(share * whole.pairs)))


def nearest_middle(low: int, high: int, left_out: Collection[int]) -> int | None:
    """The place nearest to the middle between both, without those that are left out; None where there is none."""
    between = [place for place in range(low + 1, high) if place not in left_out]
    return min(between, key=lambda place: abs(2 * place - low - high), default=None)
