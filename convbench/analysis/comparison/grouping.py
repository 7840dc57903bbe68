"""Groups of changes that share settings: settings whose cases nearly all changed. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from convbench.measure.estimate import Integers
from convbench.model.case import Case, canonical
from convbench.model.operators.given import DEPTHWISE
from convbench.model.problem import Problem
from convbench.model.settings import CASE_SETTINGS, PROBLEM_SETTINGS, TABLE

#: Settings make a group if this share of their cases changed, of those that are measured well enough to show it.
#: Planted slowdowns are found in 95 of 100 cases, so one case of a small group may be missed.
NEARLY_ALL = 0.8
#: The fewest changed cases that make a group.
FEWEST = 2
#: Settings that describe a group at most: more than three describe single cases.
MOST_SETTINGS = 3
#: Groups at most, the largest first. Changes outside groups are in the lines of the cases.
MOST_GROUPS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Settings that changed cases share: `name` in words, positions of the changed cases, number of all cases."""

    name: str
    changed: Integers
    cases: int


def shared(cases: Sequence[Case], changed: NDArray[np.bool_], unchanged: NDArray[np.bool_]) -> list[Shared]:
    """The settings that explain which of the cases changed, those with the most changed cases first.

    `unchanged` are the cases that contradict a group. Cases that are neither could not have shown such a change. Each
    further group has the most changed cases that no group before it has. Of equals it is the one with fewer unchanged
    cases, then the one with fewer settings.
    """
    left = changed.copy()
    if left.sum() < FEWEST:
        return []
    axes, met, spared = _Axes(cases), np.flatnonzero(changed), np.flatnonzero(unchanged)
    found: list[Shared] = []
    while len(found) < MOST_GROUPS and left.sum() >= FEWEST:
        best = None
        for size in range(min(MOST_SETTINGS, len(axes.swept)) + 1):
            for some in combinations(axes.swept, size):
                candidate = axes.best(some, met, spared, np.flatnonzero(left))
                if candidate is not None and (best is None or candidate.fit > best.fit):
                    best = candidate
            if size >= 2 and best is not None:  # three settings only where two explain nothing
                break
        if best is None:
            break
        inside = axes.inside(best)
        found.append(Shared(name=axes.words(best), changed=np.flatnonzero(inside & changed), cases=int(inside.sum())))
        left &= ~inside
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A value of each of some settings, and how well they fit: (changed cases outside groups, -against, -settings)."""

    axes: tuple[str, ...]
    code: int
    fit: tuple[int, int, int]


class _Axes:
    """The settings that differ among the cases, their values numbered."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.values: dict[str, list[object]] = {}
        self.codes: dict[str, Integers] = {}
        self.count = len(cases)
        # Cases of a run share few problem objects, so the settings are read once for each object.
        of_cases = [case.problem for case in cases]
        problems = dict(zip(map(id, of_cases), of_cases, strict=True))
        places = {key: place for place, key in enumerate(problems)}
        problem = np.fromiter(map(places.__getitem__, map(id, of_cases)), dtype=np.int64, count=self.count)
        for name in PROBLEM_SETTINGS:
            self._number(name, [*map(_READ.get(name, attrgetter(name)), problems.values())], problem)
        for name in CASE_SETTINGS:
            self._number(name, [*map(attrgetter(name), cases)], None)
        self.swept = tuple(self.values)

    def _number(self, name: str, values: list[object], of_case: Integers | None) -> None:
        """Add a setting if it differs. `values` are those of the cases, or of the objects that `of_case` numbers."""
        if values.count(values[0]) == len(values):
            return
        one_each = dict(zip(map(id, values), values, strict=True))  # few objects, whose hashes are slow
        numbers = {value: number for number, value in enumerate(dict.fromkeys(one_each.values()))}
        of_object = {key: numbers[value] for key, value in one_each.items()}
        codes = np.fromiter(map(of_object.__getitem__, map(id, values)), dtype=np.int64, count=len(values))
        self.values[name], self.codes[name] = list(numbers), codes if of_case is None else codes[of_case]

    def together(self, axes: tuple[str, ...], among: Integers) -> Integers:
        """A number for each of some cases, the same for those with the same values of some settings."""
        code = np.zeros(len(among), dtype=np.int64)
        for name in axes:
            code = code * len(self.values[name]) + self.codes[name][among]
        return code

    def best(self, axes: tuple[str, ...], *sets: Integers) -> _Candidate | None:
        """The values of some settings that fit best, None where none make a group.

        `sets` are the positions of the changed cases, of the unchanged cases, and of the changed cases outside groups.
        """
        codes, most = [self.together(axes, some) for some in sets], math.prod(len(self.values[name]) for name in axes)
        if most <= self.count:
            distinct = np.arange(most)
        else:  # more combinations than cases, most of them without a case
            distinct, every = np.unique(np.concatenate(codes), return_inverse=True)
            codes = np.split(every, np.cumsum([len(code) for code in codes])[:-1])
        changed, against, new = (np.bincount(code, minlength=len(distinct)) for code in codes)
        fits = (changed >= NEARLY_ALL * (changed + against)) & (new >= FEWEST)
        if not fits.any():
            return None
        at = int(np.lexsort((-against, np.where(fits, new, -1)))[-1])
        return _Candidate(axes=axes, code=int(distinct[at]), fit=(int(new[at]), -int(against[at]), -len(axes)))

    def inside(self, candidate: _Candidate) -> NDArray[np.bool_]:
        """Which cases have these values."""
        inside: NDArray[np.bool_] = self.together(candidate.axes, np.arange(self.count)) == candidate.code
        return inside

    def words(self, candidate: _Candidate) -> str:
        """`groups=depthwise and bfloat16`."""
        code, words = candidate.code, []
        for name in reversed(candidate.axes):
            code, position = divmod(code, len(self.values[name]))
            words.append(_words(name, self.values[name][position]))
        words.reverse()
        return " and ".join(words) or "all cases"


def _groups(problem: Problem) -> object:
    return DEPTHWISE if problem.groups == problem.in_channels > 1 else problem.groups


#: How to read a setting whose number has a name.
_READ: dict[str, Callable[[Problem], object]] = {"groups": _groups}


def _words(name: str, value: object) -> str:
    row = TABLE[name]
    if value is None and row.absent:
        return row.absent
    text = " ".join(canonical(value).split())
    return text if row.is_clear_alone else f"{name}={text}"
